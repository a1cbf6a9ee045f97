"""The event that is explained, its class, its paragraph and its balance."""

from __future__ import annotations

from dataclasses import dataclass, replace

from oomscope.attribution.balance import split
from oomscope.attribution.side_accounts import SideAccounts
from oomscope.errors import BadQuestion
from oomscope.model import oom_analysis as rows
from oomscope.model.balance import Balance
from oomscope.model.evidence import Evidence, LoggedEvent
from oomscope.model.holding import KERNEL, SLAB, Holding
from oomscope.model.oom_event import FOREIGN, KILL, MEMCG_KILL, PANIC, SHOWN, OomEvent
from oomscope.model.unknown import Unknown
from oomscope.model.verdict import CulpritRow, EventLine, Finding, Oom
from oomscope.units import pages_text
from oomscope.verdict.oom import Cause, OomCase, causes, vmalloc
from oomscope.verdict.oom.case import HIDDEN_KERNEL, VMALLOC
from oomscope.verdict.oom.case import SLAB as SLAB_CLASS
from oomscope.verdict.oom.narrative import one_line, story

_ONE_MOMENT_NS = 10**9
# Classes whose next step is to find a name, which allocation stacks may have given already.
WANTS_A_NAME = (HIDDEN_KERNEL, VMALLOC, SLAB_CLASS)
WORTH_NAMING = 0.05  # of RAM: a culprit that belongs into the first paragraph
# Kernel memory outside slab that the report does count.
_COUNTED_KERNEL = (rows.PAGE_TABLES, rows.SECOND_TABLES, rows.KERNEL_STACKS, rows.MISC, rows.BOUNCE, rows.ZSPAGES)


@dataclass(frozen=True, slots=True)
class Classification:
    """What an event means; `case` and `causes` are what it rests on, `is_default` that it is the log's last word."""

    logged: LoggedEvent
    number: int
    is_default: bool
    case: OomCase
    causes: list[Cause]
    lines: tuple[EventLine, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The reason first, then the holders."""
        return tuple(cause.finding for cause in self.causes)

    def with_stacks(self, vmalloc_pages: int, by: str) -> Classification:
        """The same with what allocation stacks, a census or /proc/vmallocinfo tell of the hidden memory."""
        causes_ = [vmalloc.refined(self.case, cause, vmalloc_pages, by) for cause in self.causes]
        return replace(self, causes=causes_)

    def oom(self, named: CulpritRow | None, apart_ns: int | None, next_of_named: str | None) -> Oom:
        """The event as the verdict carries it; where the class needs a name, whom stacks name gives the next step."""
        first, *others = self.causes
        also = tuple(dict.fromkeys(c.oom_class for c in others if c.oom_class != first.oom_class))
        event = self.case.event
        return Oom(
            oom_class=first.oom_class,
            also=also,
            panic=event.kind == PANIC,
            certainty=first.finding.certainty,
            story=story(self.case, self.causes, named, apart_ns),
            next=next_of_named if next_of_named and first.oom_class in WANTS_A_NAME else first.finding.next,
            analysis=self.case.analysis,
            origin=self.logged.origin,
            number=self.number,
        )

    def balance(self, held: list[Holding], others: SideAccounts) -> Balance | None:
        """Every page of RAM in a row; slab and the remainder split by culprit as far as other evidence tells."""
        accounting = self.case.accounting
        if accounting.ram_pages is None or accounting.unexplained_pages is None:
            return None
        notes = [f"{kind}: {reason}" for kind, reason in accounting.bounds]
        notes += accounting.problems
        slab, kernel = split(held, SLAB), split(held, KERNEL)
        of_slab = slab.parts or others.parts_of_slab() or _caches(self.case)
        shown = tuple(
            replace(row, parts=of_slab) if row.kind == rows.SLAB_UNRECLAIMABLE else row for row in accounting.rows
        )
        of_rest = kernel.parts or others.parts_of_the_rest(self.case.analysis.page_bytes)
        if kernel.pages:
            notes.append(_beside(self.case, kernel.pages))
        return Balance(
            ram_pages=accounting.ram_pages,
            reserved_pages=accounting.reserved_pages,
            rows=shown,
            unexplained_pages=accounting.unexplained_pages,
            unexplained_parts=of_rest,
            notes=tuple(notes),
        )

    def absent(self) -> tuple[Unknown, ...]:
        """What the report does not tell."""
        event = self.case.event
        found = [Unknown(part, "this log does not have it") for part in event.cut]
        if event.page_kib is None and event.counters:
            reason = "neither free lists nor counters in two units are there: sizes are in pages"
            found.append(Unknown("the page size", reason))
        if event.unknown_count:
            where, text = event.unknown[0]
            found.append(
                Unknown(
                    f"{event.unknown_count:,} lines inside the report",
                    f"they are of no known form; the first, line {where}: {text[:60]}",
                )
            )
        found += [Unknown("a number", f"it cannot be an amount: {text[:80]}") for text in event.distrusted[:3]]
        found += [Unknown(f"{n:,} {what} of this event", "more than are kept") for what, n in event.left_out.items()]
        if self.case.accounting.hidden_zone_pages:
            hidden = pages_text(self.case.accounting.hidden_zone_pages)
            reason = "kernels from 6.0 on print the zones that could serve the request, no others"
            found.append(Unknown(f"the zones of {hidden}", reason))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class ClassifiedEvents:
    """The events of a machine with their causes and a line on each: what judging any one of them begins with.

    `default` is the place of the log's last word.
    """

    cases: tuple[OomCase, ...]
    causes: tuple[list[Cause], ...]
    lines: tuple[EventLine, ...]
    default: int


def classify_events(evidence: Evidence) -> ClassifiedEvents:
    """Look at every event once."""
    events = evidence.events
    cases = tuple(OomCase(e.analysis, _before(evidence, index)) for index, e in enumerate(events))
    told = tuple(causes(case) for case in cases)
    default = _last_word([case.event for case in cases]) if cases else 0
    lines = tuple(
        EventLine(
            number=index,
            origin=logged.origin,
            line=case.event.first_line,
            at_ns=case.event.at_ns,
            stamp=case.event.stamp,
            oom_class=its_causes[0].oom_class,
            certainty=its_causes[0].finding.certainty,
            text=one_line(case),
        )
        for index, (logged, case, its_causes) in enumerate(zip(events, cases, told, strict=True), 1)
    )
    return ClassifiedEvents(cases, told, lines, default)


def classify_event(evidence: Evidence, told: ClassifiedEvents, number: int | None) -> Classification | None:
    """The event of that number (from 1), else the last one that tells something; None without any.

    Raises BadQuestion for a number that no event has.
    """
    events = evidence.events
    if number is not None and not 1 <= number <= len(events):
        raise BadQuestion(
            f"--event {number}: "
            + (f"there are only {len(events):,} events" if len(events) > 1 else "there is only 1 event")
        )
    if not events:
        return None
    chosen = told.default if number is None else number - 1
    return Classification(
        events[chosen], chosen + 1, chosen == told.default, told.cases[chosen], told.causes[chosen], told.lines
    )


def _caches(case: OomCase) -> tuple[tuple[str, int], ...]:
    """The report's own table of unreclaimable caches, in pages."""
    ranked = sorted(case.event.slab_caches, key=lambda cache: -cache.total_kib)
    page_kib = case.event.page_kib or 4
    return tuple((cache.name, cache.total_kib // page_kib) for cache in ranked[:10])


def _before(evidence: Evidence, index: int) -> tuple[OomEvent, ...]:
    return tuple(logged.analysis.event for logged in evidence.events[max(index - 1, 0) : index])


def _last_word(events: list[OomEvent]) -> int:
    """The event that is explained: the last one; of those of one second, a kill or panic before a mere failure."""
    last = max(range(len(events)), key=lambda index: _rank(events[index], index))
    at_ns = events[last].at_ns
    if events[last].kind not in (KILL, PANIC, MEMCG_KILL) and at_ns is not None:
        for index in range(last - 1, -1, -1):
            other = events[index]
            if other.at_ns is None or at_ns - other.at_ns > _ONE_MOMENT_NS:
                break
            if other.kind in (KILL, PANIC) and other.counters:
                return index
    return last


def _rank(event: OomEvent, index: int) -> tuple[bool, int, int]:
    """The last event counts; one whose numbers are there before one of which kill lines or a header alone are left."""
    has_numbers = bool(event.counters or event.zones or (event.memcg is not None and event.memcg.usage_kib is not None))
    tells = 2 if has_numbers else int(bool(event.victims or event.processes))
    return event.kind not in (SHOWN, FOREIGN), tells, index


def _beside(case: OomCase, stacks_pages: int) -> str:
    """What allocation stacks and the report say of the same memory."""
    accounting = case.accounting
    counted = accounting.pages(*_COUNTED_KERNEL)
    left = (accounting.unexplained_pages or 0) + counted
    says = (
        f"allocation stacks count {pages_text(stacks_pages)} of kernel memory outside slab; the report leaves "
        f"{left:,} for it, {counted:,} of them page tables, kernel stacks and the like"
    )
    if stacks_pages == left:
        return says
    between = "memory from before page_owner started, and what changed between the two readings"
    return f"{says}; the {abs(left - stacks_pages):,} between them: {between}"
