"""What the evidence means: consumers ranked, rules applied, what is missing said."""

from __future__ import annotations

from dataclasses import dataclass

from oomscope.attribution.balance import balance
from oomscope.attribution.census import census_balance
from oomscope.attribution.change import pages_by_culprit, pages_by_stack
from oomscope.attribution.groups import group
from oomscope.attribution.holdings import holdings
from oomscope.attribution.moments import total_pages
from oomscope.attribution.selection import Selection
from oomscope.errors import NothingToExplain
from oomscope.model.absent import Absent
from oomscope.model.evidence import Evidence, Moment
from oomscope.model.holding import Holding
from oomscope.model.reading import Reading
from oomscope.model.verdict import Balance, Input, Oom, Verdict
from oomscope.verdict import witnesses
from oomscope.verdict.consumers import Ranking, greatest, greatest_kernel, may_be_named
from oomscope.verdict.missing import missing
from oomscope.verdict.rules import RULES, Case

__all__ = ["Question", "judge"]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked beside the answer: a grouping (attribution.groups.PROPERTIES), its order, and a lower bound."""

    by: str | None = None
    sort: str = "pages"
    min_pages: int = 0


def judge(evidence: Evidence, question: Question, selection: Selection) -> Verdict:
    """The verdict on the latest moment; earlier ones show growth.

    Raises NothingToExplain where the filters leave nothing over, BadQuestion for a grouping that does not exist.
    """
    latest = evidence.latest
    counts = latest.counts
    held = holdings(counts)
    if not held and (latest.reading.census is None or not selection.is_empty):
        raise NothingToExplain("no page is left after the filters", advice=_why_nothing_left(evidence, selection))
    nameable = [h for h in held if may_be_named(h)]
    earlier = _comparable_earlier_moment(evidence)
    ranking = Ranking(
        evidence,
        earlier_stacks=None if earlier is None else pages_by_stack(earlier.counts),
        earlier_culprits=None if earlier is None else pages_by_culprit(earlier.counts),
        apart_ns=None if earlier is None else _apart_ns(earlier, latest),
    )
    consumers = ranking.consumers(h for h in nameable if _amount(h) >= question.min_pages)
    case = Case(
        evidence=evidence,
        selection=selection,
        consumers=consumers,
        excepted=ranking.consumers(h for h in held if not may_be_named(h) and _amount(h) >= question.min_pages),
        culprits=tuple(row for row in ranking.culprits(nameable) if row.pages >= question.min_pages),
        most_allocations=()
        if counts.pages is not None
        else tuple(h for h in nameable if _amount(h) >= question.min_pages),
        balance=_balance(evidence, selection),
        witnesses=() if not selection.is_empty else witnesses.reports(latest),
        earlier=earlier,
    )
    absent = missing(case)
    totals = latest.totals if selection.is_empty else None
    return Verdict(
        partial=_is_partial(evidence, latest),
        kernel=evidence.kernel,
        at_ns=None if isinstance(latest.at_ns, Absent) else latest.at_ns,
        source=latest.reading.format,
        oom=Oom("undetermined", (), latest.reading.notes.panicked) if _saw_oom(latest) else None,
        greatest=greatest(consumers),
        greatest_kernel=greatest_kernel(consumers),
        consumers=consumers,
        most_allocations=case.most_allocations,
        excepted=case.excepted,
        culprits=case.culprits,
        counted_pages=total_pages(counts) if totals is None else totals.pages,
        counted_stacks=len(held) if totals is None else totals.stacks,
        ram_pages=None if isinstance(evidence.ram_pages, Absent) else evidence.ram_pages,
        balance=case.balance,
        witnesses=case.witnesses,
        findings=tuple(finding for rule in RULES for finding in rule(case)),
        absent=absent,
        inputs=tuple(_input(reading) for reading in evidence.readings),
        system=latest.reading.notes.system,
        cache_objects=latest.reading.notes.cache_objects,
        selection_note=None if selection.is_empty else "filters are set: only what they leave over is counted",
        groups_by=question.by,
        groups=()
        if question.by is None
        else tuple(group(counts, held, question.by, sort=question.sort, min_pages=question.min_pages)),
    )


def _saw_oom(moment: Moment) -> bool:
    return moment.is_panic_report or bool(moment.reading.notes.panicked)


def _amount(holding: Holding) -> int:
    """Pages, or allocations where the evidence counts those."""
    return holding.pages if holding.pages is not None else holding.blocks or 0


def _comparable_earlier_moment(evidence: Evidence) -> Moment | None:
    """The moment before the latest, if it counts every stack's pages: it shows growth."""
    if len(evidence.moments) < 2:
        return None
    earlier = evidence.moments[-2]
    if earlier.is_panic_report or earlier.counts.pages is None or evidence.latest.counts.pages is None:
        return None
    return earlier


def _apart_ns(earlier: Moment, later: Moment) -> int | None:
    if isinstance(earlier.at_ns, Absent) or isinstance(later.at_ns, Absent):
        return None
    return later.at_ns - earlier.at_ns


def _balance(evidence: Evidence, selection: Selection) -> Balance | None:
    """The balance, where all of RAM was counted."""
    latest = evidence.latest
    if isinstance(evidence.ram_pages, Absent):
        return None
    if latest.reading.census is not None:
        return census_balance(latest.reading.census, evidence.ram_pages)
    if isinstance(evidence.free_pages, Absent):
        return None
    if latest.is_panic_report or latest.counts.pages is None or not selection.is_empty:
        return None
    return balance(holdings(latest.counts), ram_pages=evidence.ram_pages, free_pages=evidence.free_pages)


def _is_partial(evidence: Evidence, latest: Moment) -> bool:
    """Whether a part of this moment's evidence is missing or damaged."""
    notes = latest.reading.notes
    return (
        latest.reading.defect is not None
        or notes.spoilt_records > 0
        or notes.cut_off
        or notes.unread_share > 0
        or bool(notes.absent)
        or latest.is_panic_report
        or latest.counts.pages is None
        or any(reading.defect is not None for reading in evidence.readings)
    )


def _why_nothing_left(evidence: Evidence, selection: Selection) -> str:
    told = evidence.latest.reading.format
    if selection.asks_of_records and told != "page_owner":
        return f"{told} does not tell what {', '.join(selection.asks_of_records)} asks for; page_owner records do"
    return "loosen the filters"


def _input(reading: Reading) -> Input:
    notes = reading.notes
    return Input(
        reading.origin, reading.format, notes.records, notes.spoilt_records, notes.unknown_lines, reading.defect
    )
