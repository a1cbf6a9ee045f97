"""What the evidence means: consumers ranked, rules applied, what is missing said."""

from __future__ import annotations

from dataclasses import dataclass

from oomscope.attribution.balance import balance, through_vmalloc
from oomscope.attribution.census import census_balance
from oomscope.attribution.groups import group
from oomscope.attribution.holdings import holdings
from oomscope.attribution.selection import Selection
from oomscope.attribution.side_accounts import SideAccounts, side_accounts
from oomscope.attribution.timeline import total_pages, without_stacks
from oomscope.attribution.vmstat_balance import counters_of, vmstat_balance
from oomscope.attribution.witness_comparison import pages_by_culprit, pages_by_stack
from oomscope.errors import NothingToExplain
from oomscope.model.balance import Balance
from oomscope.model.evidence import Evidence, Moment
from oomscope.model.holding import KERNEL, SLAB, Holding
from oomscope.model.reading import Reading
from oomscope.model.unknown import Unknown
from oomscope.model.verdict import CulpritRow, InputSummary, Oom, Verdict
from oomscope.verdict import witnesses
from oomscope.verdict.missing import missing
from oomscope.verdict.oom.case import SLAB as SLAB_CLASS
from oomscope.verdict.oom.case import UNDETERMINED
from oomscope.verdict.oom.classification import (
    WANTS_A_NAME,
    WORTH_NAMING,
    Classification,
    ClassifiedEvents,
    classify_event,
    classify_events,
)
from oomscope.verdict.ranking import Ranking, greatest, greatest_kernel, may_be_named
from oomscope.verdict.rules import RULES, RuleCase
from oomscope.verdict.rules.case import where_command

__all__ = ["Question", "judge", "judge_each"]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked beside the answer.

    `by` is a grouping (attribution.groups.PROPERTIES), `sort` its order, `min_pages` a lower bound; `event` says which
    OOM event of a log (from 1) is explained (None: the last one that tells something).
    """

    by: str | None = None
    sort: str = "pages"
    min_pages: int = 0
    event: int | None = None


def judge_each(evidence: Evidence) -> list[Verdict]:
    """A verdict on every OOM event, in their order in time; where none is told of, the one on the latest moment."""
    told = classify_events(evidence)
    numbers: list[int | None] = [*range(1, len(evidence.events) + 1)]
    return [judge(evidence, Question(event=number), Selection(), told=told) for number in numbers or [None]]


def judge(
    evidence: Evidence, question: Question, selection: Selection, *, told: ClassifiedEvents | None = None
) -> Verdict:
    """The verdict on the latest moment; earlier ones show growth.

    `told` are the evidence's events where they have been looked at already. Raises NothingToExplain where the filters
    leave nothing over, BadQuestion for a grouping that does not exist.
    """
    classification = classify_event(evidence, told or classify_events(evidence), question.event)
    if classification is not None and not classification.is_default:
        evidence = without_stacks(evidence, classification.logged)  # they are of a later moment
    latest = evidence.latest
    counts = latest.counts
    held = holdings(counts)
    others = side_accounts(evidence)
    if classification is not None:
        classification = classification.with_stacks(*_vmalloc_pages(latest, held, others))
    tells_without_stacks = latest.reading.census is not None or classification is not None or not latest.counts.stacks
    if not held and not (tells_without_stacks and selection.is_empty):
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
    case = RuleCase(
        evidence=evidence,
        selection=selection,
        consumers=consumers,
        excepted=ranking.consumers(h for h in held if not may_be_named(h) and _amount(h) >= question.min_pages),
        culprits=tuple(row for row in ranking.culprits(nameable) if row.pages >= question.min_pages),
        most_allocations=()
        if counts.pages is not None
        else tuple(h for h in nameable if _amount(h) >= question.min_pages),
        balance=_balance(evidence, selection, classification, held, others),
        event=None if classification is None else classification.case,
        witnesses=() if not selection.is_empty else witnesses.reports(latest),
        earlier=earlier,
        others=others,
    )
    findings = tuple(finding for rule in RULES for finding in rule(case))
    if case.is_of_accounts and not findings and not _saw_oom(latest):
        known = ", ".join(sorted({reading.format for reading in evidence.readings}))
        raise NothingToExplain(
            f"{latest.reading.origin}: only {known}, which does not say who holds memory",
            advice="give an OOM report, a page_owner dump, show_stacks, a core dump, or /proc/meminfo beside it",
        )
    absent = missing(case)
    if classification is not None:
        absent = (*classification.absent(), *absent)
    totals = latest.totals if selection.is_empty else None
    return Verdict(
        partial=_is_partial(evidence, latest, classification),
        kernel=evidence.kernel,
        at_ns=_at_ns(latest, classification),
        source=latest.reading.format,
        oom=_oom(case, classification),
        greatest=greatest(consumers),
        greatest_kernel=greatest_kernel(consumers),
        consumers=consumers,
        most_allocations=case.most_allocations,
        excepted=case.excepted,
        culprits=case.culprits,
        counted_pages=total_pages(counts) if totals is None else totals.pages,
        counted_stacks=len(held) if totals is None else totals.stacks,
        ram_pages=None if isinstance(evidence.ram_pages, Unknown) else evidence.ram_pages,
        balance=case.balance,
        witnesses=case.witnesses,
        findings=(
            *(() if classification is None else classification.findings),
            *findings,
        ),
        absent=absent,
        inputs=tuple(_input(reading) for reading in evidence.readings),
        system=latest.reading.notes.system,
        cache_objects=latest.reading.notes.cache_objects or others.cache_objects,
        accounts=others.accounts,
        free_blocks=next((r.notes.free_blocks for r in evidence.readings if r.notes.free_blocks), ()),
        selection_note=None if selection.is_empty else "filters are set: only what they leave over is counted",
        groups_by=question.by,
        groups=()
        if question.by is None
        else tuple(group(counts, held, question.by, sort=question.sort, min_pages=question.min_pages)),
        events=() if classification is None else classification.lines,
    )


def _oom(case: RuleCase, classification: Classification | None) -> Oom | None:
    """The OOM event; without a report, that there was one is all that at-panic lines or a dump tell."""
    latest = case.evidence.latest
    if classification is None:
        return Oom(UNDETERMINED, (), latest.reading.notes.panicked) if _saw_oom(latest) else None
    named = next((row for row in case.culprits if _names_hidden_memory(row, classification)), None)
    event_ns, stacks_ns = classification.case.event.at_ns, latest.at_ns
    apart_ns = None
    if event_ns is not None and not isinstance(stacks_ns, Unknown) and not latest.is_panic_report:
        apart_ns = event_ns - stacks_ns
    rows = [c for c in case.consumers if named is not None and c.holding.culprit == named.culprit]
    where = where_command(rows[0].holding.stack.texts, rows[0].holding.culprit) if rows else None
    return classification.oom(named, apart_ns, where)


def _names_hidden_memory(row: CulpritRow, classification: Classification) -> bool:
    """Whether a culprit holds much of what the event's class leaves without a name."""
    wanted = {cause.oom_class: SLAB if cause.oom_class == SLAB_CLASS else KERNEL for cause in classification.causes}
    kinds = {kind for oom_class, kind in wanted.items() if oom_class in WANTS_A_NAME}
    return not kinds.isdisjoint(row.kinds) and (row.share_of_ram or 0) >= WORTH_NAMING


def _vmalloc_pages(latest: Moment, held: list[Holding], others: SideAccounts) -> tuple[int, str]:
    """What vmalloc holds, and who counts it: a census, allocation stacks, or /proc/vmallocinfo."""
    if latest.reading.census is not None:
        return latest.reading.census.pages["vmalloc"], "the census of page frames"
    if held:
        return through_vmalloc(held), "allocation stacks"
    return others.vmalloc_pages, "/proc/vmallocinfo"


def _at_ns(latest: Moment, classification: Classification | None) -> int | None:
    """The moment explained: that of the event, where the log alone tells of it."""
    if classification is not None and not latest.counts.stacks:
        return classification.case.event.at_ns
    return None if isinstance(latest.at_ns, Unknown) else latest.at_ns


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
    if isinstance(earlier.at_ns, Unknown) or isinstance(later.at_ns, Unknown):
        return None
    return later.at_ns - earlier.at_ns


def _balance(
    evidence: Evidence,
    selection: Selection,
    classification: Classification | None,
    held: list[Holding],
    others: SideAccounts,
) -> Balance | None:
    """The balance, where all of RAM was counted: page by page, else by the OOM report, else by the stacks."""
    latest = evidence.latest
    if isinstance(evidence.ram_pages, Unknown):
        return None
    if latest.reading.census is not None:
        return census_balance(latest.reading.census, evidence.ram_pages)
    if classification is not None and selection.is_empty:
        of_report = classification.balance(held, others)
        if of_report is not None:
            return of_report
    if not latest.counts.stacks:
        page_bytes = evidence.kernel.page_size_bytes
        return vmstat_balance(
            counters_of(evidence.readings),
            evidence.meminfo,
            others,
            ram_pages=evidence.ram_pages,
            page_bytes=None if isinstance(page_bytes, Unknown) else page_bytes,
        )
    if isinstance(evidence.free_pages, Unknown):
        return None
    if latest.is_panic_report or latest.counts.pages is None or not selection.is_empty:
        return None
    return balance(holdings(latest.counts), ram_pages=evidence.ram_pages, free_pages=evidence.free_pages)


def _is_partial(evidence: Evidence, latest: Moment, classification: Classification | None) -> bool:
    """Whether a part of this moment's evidence is missing or damaged."""
    notes = latest.reading.notes
    if classification is not None and (classification.case.event.cut or classification.case.event.distrusted):
        return True
    return (
        latest.reading.defect is not None
        or notes.corrupt_records > 0
        or notes.cut_off
        or notes.unread_share > 0
        or bool(notes.absent)
        or latest.is_panic_report
        or (latest.counts.pages is None and bool(latest.counts.stacks))
        or any(reading.defect is not None for reading in evidence.readings)
        or any(reading.notes.corrupt_records for reading in evidence.readings if not reading.notes.records)
    )


def _why_nothing_left(evidence: Evidence, selection: Selection) -> str:
    told = evidence.latest.reading.format
    if selection.asks_of_records and told != "page_owner":
        return f"{told} does not tell what {', '.join(selection.asks_of_records)} asks for; page_owner records do"
    return "loosen the filters"


def _input(reading: Reading) -> InputSummary:
    notes = reading.notes
    return InputSummary(
        reading.origin, reading.format, notes.records, notes.corrupt_records, notes.unknown_lines, reading.defect
    )
