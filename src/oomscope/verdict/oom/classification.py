"""The event that is explained, its class, its paragraph and its balance."""

from __future__ import annotations

from dataclasses import dataclass, replace

from oomscope.attribution.oom.events import explained
from oomscope.errors import BadQuestion
from oomscope.model.evidence import Evidence, LoggedEvent
from oomscope.model.oom_event import PANIC, OomEvent
from oomscope.model.ranked import CulpritRow
from oomscope.model.unknown import Unknown
from oomscope.model.verdict import EventLine, Finding, Oom
from oomscope.units import counted, pages_text
from oomscope.verdict.oom import Cause, OomCase, causes, vmalloc
from oomscope.verdict.oom.case import WANTS_A_NAME
from oomscope.verdict.oom.narrative import one_line, story


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

    def absent(self) -> tuple[Unknown, ...]:
        """What the report does not tell."""
        event = self.case.event
        found = [Unknown(part, "this log does not have it") for part in event.cut]
        if event.page_kib is None and event.counters:
            reason = "neither free lists nor counters in two units are there: sizes are in pages"
            found.append(Unknown("the page size", reason))
        if event.unknown_count:
            where, text = event.unknown[0]
            of_no_form = (
                f"it is of no known form: line {where}: {text[:60]}"
                if event.unknown_count == 1
                else f"they are of no known form; the first, line {where}: {text[:60]}"
            )
            found.append(Unknown(f"{counted(event.unknown_count, 'line')} inside the report", of_no_form))
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
    ram_bytes = None if evidence.meminfo is None else evidence.meminfo.total_bytes
    has_dump = any(reading.census is not None for reading in evidence.readings)
    cases = tuple(OomCase(e.analysis, _before(evidence, index), ram_bytes, has_dump) for index, e in enumerate(events))
    told = tuple(causes(case) for case in cases)
    default = explained(events) if events else 0
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


def _before(evidence: Evidence, index: int) -> tuple[OomEvent, ...]:
    return tuple(logged.analysis.event for logged in evidence.events[max(index - 1, 0) : index])
