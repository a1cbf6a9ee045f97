"""What the evidence means: events classified, facts gathered, holders ranked, rules applied, one answer given."""

from __future__ import annotations

from dataclasses import dataclass

from oomscope.attribution.facts import Facts
from oomscope.attribution.groups import group
from oomscope.attribution.selection import Selection
from oomscope.attribution.timeline import without_stacks
from oomscope.errors import NothingToExplain
from oomscope.model.evidence import Evidence, Moment
from oomscope.model.holding import Holding
from oomscope.model.reading import Reading, Role
from oomscope.model.unknown import Unknown
from oomscope.model.verdict import Finding, InputSummary, Oom, Verdict
from oomscope.verdict import witnesses
from oomscope.verdict.answer import answer, row_for
from oomscope.verdict.missing import missing
from oomscope.verdict.oom.case import UNDETERMINED
from oomscope.verdict.oom.classification import Classification, ClassifiedEvents, classify_event, classify_events
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
    classified = classify_events(evidence)
    numbers: list[int | None] = [*range(1, len(evidence.events) + 1)]
    return [judge(evidence, Question(event=number), Selection(), classified=classified) for number in numbers or [None]]


def judge(
    evidence: Evidence, question: Question, selection: Selection, *, classified: ClassifiedEvents | None = None
) -> Verdict:
    """The verdict on the latest moment; earlier ones show growth.

    `classified` are the evidence's events where they have been looked at already. Raises NothingToExplain where the
    filters leave nothing over, BadQuestion for a grouping that does not exist.
    """
    event = classify_event(evidence, classified or classify_events(evidence), question.event)
    facts = _gathered(evidence, selection, event)
    if event is not None:
        event = event.with_stacks(*facts.vmalloc)
    case = _ranked(facts, question, selection, event)
    findings = _found(case, event)
    return _verdict(case, question, event, findings)


def _gathered(evidence: Evidence, selection: Selection, event: Classification | None) -> Facts:
    """The facts at the moment of the event; stacks that were counted at another one are no part of them."""
    if event is not None and not event.is_default:
        evidence = without_stacks(evidence, event.logged)
    facts = Facts(evidence, None if event is None else event.case.analysis, not selection.is_empty)
    latest = evidence.latest
    tells_without_stacks = latest.reading.census is not None or event is not None or not latest.counts.stacks
    if not facts.holdings and not (tells_without_stacks and selection.is_empty):
        raise NothingToExplain("no page is left after the filters", advice=_why_nothing_left(latest, selection))
    return facts


def _ranked(facts: Facts, question: Question, selection: Selection, event: Classification | None) -> RuleCase:
    """Who holds how much, the greatest first."""

    def is_asked_for(holding: Holding) -> bool:
        return (holding.pages if holding.pages is not None else holding.blocks or 0) >= question.min_pages

    latest = facts.evidence.latest
    nameable = [holding for holding in facts.holdings if may_be_named(holding)]
    ranking = Ranking(facts)
    asked = tuple(filter(is_asked_for, nameable))
    return RuleCase(
        facts=facts,
        selection=selection,
        consumers=ranking.consumers(asked),
        excepted=ranking.consumers(h for h in facts.holdings if not may_be_named(h) and is_asked_for(h)),
        culprits=tuple(row for row in ranking.culprits(nameable) if row.pages >= question.min_pages),
        most_allocations=() if latest.counts.pages is not None else asked,
        witnesses=() if not selection.is_empty else witnesses.reports(latest),
        event=None if event is None else event.case,
    )


def _found(case: RuleCase, event: Classification | None) -> tuple[Finding, ...]:
    """What the rules find, the class of the event first. Raises NothingToExplain where nothing names a holder."""
    findings = tuple(finding for rule in RULES for finding in rule(case))
    latest = case.evidence.latest
    if case.is_of_accounts and not findings and not _saw_oom(latest):
        known = ", ".join(sorted({reading.format for reading in case.evidence.readings}))
        raise NothingToExplain(
            f"{latest.reading.origin}: only {known}, which does not say who holds memory",
            advice="give an OOM report, a page_owner dump, show_stacks, a core dump, or /proc/meminfo beside it",
        )
    return findings if event is None else (*event.findings, *findings)


def _verdict(
    case: RuleCase, question: Question, event: Classification | None, findings: tuple[Finding, ...]
) -> Verdict:
    """All of it in one value, with the one answer."""
    facts, evidence, latest = case.facts, case.evidence, case.evidence.latest
    oom = _oom(case, event)
    return Verdict(
        answer=answer(case, oom, findings),
        partial=_is_partial(evidence, latest, event),
        kernel=evidence.kernel,
        at_ns=_at_ns(latest, event),
        source=latest.reading.format,
        oom=oom,
        greatest=greatest(case.consumers),
        greatest_kernel=greatest_kernel(case.consumers),
        consumers=case.consumers,
        most_allocations=case.most_allocations,
        excepted=case.excepted,
        culprits=case.culprits,
        counted_pages=case.counted_pages,
        counted_stacks=case.counted_stacks,
        ram_pages=None if isinstance(evidence.ram_pages, Unknown) else evidence.ram_pages,
        balance=facts.balance,
        witnesses=case.witnesses,
        findings=findings,
        absent=(
            *(() if event is None else event.absent()),
            *missing(case, None if oom is None or event is None else oom.oom_class),
        ),
        inputs=tuple(_input(reading) for reading in evidence.readings),
        system=latest.reading.notes.system,
        cache_objects=facts.accounts.cache_objects
        if latest.reading.role is Role.ACCOUNT
        else latest.reading.notes.accounts.cache_objects or facts.accounts.cache_objects,
        accounts=facts.accounts.accounts,
        free_blocks=next((r.notes.accounts.free_blocks for r in evidence.readings if r.notes.accounts.free_blocks), ()),
        selection_note=None if case.selection.is_empty else "filters are set: only what they leave over is counted",
        groups_by=question.by,
        groups=()
        if question.by is None
        else tuple(
            group(
                latest.counts,
                facts.holdings,
                question.by,
                sort=question.sort,
                min_pages=question.min_pages,
                told=facts.told_culprits,
            )
        ),
        events=() if event is None else event.lines,
    )


def _oom(case: RuleCase, event: Classification | None) -> Oom | None:
    """The OOM event; without a report, that there was one is all that at-panic lines or a dump tell."""
    latest = case.evidence.latest
    if event is None:
        return Oom(UNDETERMINED, (), latest.reading.notes.log.panicked) if _saw_oom(latest) else None
    named = row_for([(cause.oom_class, cause.finding.pages) for cause in event.causes], case.culprits)
    event_ns, stacks_ns = event.case.event.at_ns, latest.at_ns
    apart_ns = None
    if event_ns is not None and not isinstance(stacks_ns, Unknown) and not latest.is_panic_report:
        apart_ns = event_ns - stacks_ns
    first = row_for([(event.causes[0].oom_class, event.causes[0].finding.pages)], case.culprits)
    rows = [c for c in case.consumers if first is not None and c.holding.culprit == first.culprit]
    where = where_command(rows[0].holding.stack.texts, rows[0].holding.culprit) if rows else None
    return event.oom(named, apart_ns, where)


def _at_ns(latest: Moment, event: Classification | None) -> int | None:
    """The moment explained: that of the event, where the log alone tells of it."""
    if event is not None and not latest.counts.stacks:
        return event.case.event.at_ns
    return None if isinstance(latest.at_ns, Unknown) else latest.at_ns


def _saw_oom(moment: Moment) -> bool:
    return moment.is_panic_report or bool(moment.reading.notes.log.panicked)


def _is_partial(evidence: Evidence, latest: Moment, event: Classification | None) -> bool:
    """Whether a part of this moment's evidence is missing or damaged."""
    notes = latest.reading.notes
    if event is not None and (event.case.event.cut or event.case.event.distrusted):
        return True
    return (
        latest.reading.defect is not None
        or notes.stats.corrupt_records > 0
        or notes.stats.cut_off
        or notes.stats.unread_share > 0
        or bool(notes.absent)
        or latest.is_panic_report
        or (latest.counts.pages is None and bool(latest.counts.stacks))
        or any(reading.defect is not None for reading in evidence.readings)
        or any(reading.notes.stats.corrupt_records for reading in evidence.readings if not reading.notes.stats.records)
    )


def _why_nothing_left(latest: Moment, selection: Selection) -> str:
    told = latest.reading.format
    if selection.asks_of_records and latest.reading.role is not Role.DUMP:
        return f"{told} does not tell what {', '.join(selection.asks_of_records)} asks for; page_owner records do"
    return "loosen the filters"


def _input(reading: Reading) -> InputSummary:
    notes = reading.notes
    return InputSummary(
        reading.origin,
        reading.format,
        notes.stats.records,
        notes.stats.corrupt_records,
        notes.stats.unknown_lines,
        reading.defect,
    )
