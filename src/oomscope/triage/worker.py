"""One case through the pipeline of `explain`, kept as rows. This is what the processes of a fleet do."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from oomscope.attribution.culprit import attribute
from oomscope.errors import OomscopeError
from oomscope.model.answer import BY_STACKS, CALL_SITE, CULPRIT, LACKING
from oomscope.model.oom_event import OomEvent
from oomscope.model.triage import CaseResult, CaseRow, ConsumerRow
from oomscope.model.unknown import Inaccessible, Unknown
from oomscope.model.verdict import Verdict
from oomscope.pipeline.api import read
from oomscope.triage import places
from oomscope.triage.grouping import Unit
from oomscope.triage.packing import packed
from oomscope.triage.signature import signature
from oomscope.units import counted
from oomscope.verdict import judge_each

MOST_UNUSED = 10  # files of a case that are named
MOST_CONSUMERS = 100  # of a case; `stacks` of its row says how many there are
_CASE = "(case)"  # stands for the case's own place in texts that are kept: copies of it lie elsewhere


@dataclass(frozen=True, slots=True)
class Worked:
    """The results of one unit; `is_lasting` tells that its content alone made them, and will again."""

    results: list[CaseResult]
    is_lasting: bool


@dataclass(frozen=True, slots=True)
class Packed:
    """The same, as it is kept."""

    results: bytes
    is_lasting: bool


def packed_of(unit: Unit) -> Packed:
    """The results of a case, packed where they were made: whoever gathers them has many processes to serve."""
    worked = explained(unit)
    return Packed(packed(worked.results), worked.is_lasting)


def explained(unit: Unit) -> Worked:
    """A result for each OOM of a case, in their order in time; one that failed where nothing could be explained.

    Every error of the case itself is told in its row: none ends a triage.
    """
    if unit.problem:
        return failed(unit.problem)
    place = unit.place
    try:
        with places.fetched(unit.files) as path:
            place = str(path)
            formats = _formats(unit, path)
            evidence = read(path, formats=formats)
            results = [_result(verdict, place) for verdict in judge_each(evidence)]
            unused = _unused(evidence.unused, place)
        results = _with_a_later_answer(results)
        results[0] = replace(results[0], row=replace(results[0].row, unused=unused))
        left_out = sum(reading.notes.log.events_left_out for reading in evidence.readings)
        if left_out:
            reason = f"{counted(left_out, 'earlier OOM')} of this log: the last {len(results):,} are explained"
            results.append(CaseResult(CaseRow(failure=reason, exit_code=3)))
        is_in_reach = not any(isinstance(each, Inaccessible) for each in evidence.unused)
        is_lasting = bool(unit.digest) and is_in_reach and all(map(_is_as_it_was, unit.files, unit.states))
        return Worked(results, is_lasting)
    except OomscopeError as error:
        return failed(_kept(str(error), place), exit_code=error.exit_code)
    except OSError as error:
        return failed(places.reason_of(error))
    except MemoryError:
        return failed("out of memory while reading")
    finally:
        # A process explains a thousand cases, whose stacks have little in common.
        attribute.cache_clear()


def _formats(unit: Unit, path: Path) -> dict[Path, str]:
    """The formats of files that are what they were when they were recognised; `path` is where the case lies here."""
    found = {}
    for file, state, form in zip(unit.files, unit.states, unit.formats, strict=False):
        if form and state is not None and _is_as_it_was(file, state):
            found[path / file[1] if file[1] else path] = form
    return found


def _is_as_it_was(file: tuple[str, str], state: tuple[int, int] | None) -> bool:
    try:
        return state is None or places.state(file[0]) == state
    except OSError:
        return False


def failed(reason: str, *, exit_code: int = 3) -> Worked:
    """The result of a case that could not be explained, which is tried again the next time: it costs little."""
    return Worked([CaseResult(CaseRow(failure=reason, exit_code=exit_code))], is_lasting=False)


def _kept(text: str, place: str) -> str:
    """A text without the case's own place: what is kept is told of copies that lie elsewhere."""
    for own in (place.rstrip("/"), places.shown(place).rstrip("/")):
        if own and own in text:
            text = text.removeprefix(f"{own}: ")
            text = re.sub(rf"(?<![\w./-]){re.escape(own)}(?![\w-])", _CASE, text)
    return text


def _unused(left: tuple[Unknown, ...], place: str) -> tuple[str, ...]:
    # First what may be read another day: it may be the file that would have named the holder.
    ordered = sorted(left, key=lambda each: not isinstance(each, Inaccessible))
    told = [_kept(f"{each.what}: {each.reason}", place) for each in ordered[:MOST_UNUSED]]
    return (*told, f"and {len(left) - MOST_UNUSED:,} more") if len(left) > MOST_UNUSED else tuple(told)


def _with_a_later_answer(results: list[CaseResult]) -> list[CaseResult]:
    """OOMs that only page owner data could explain, where there are some of a later one of the same kind and boot."""
    answers: dict[tuple[str | None, str | None], tuple[int, CaseRow]] = {}  # the next one, by class and kernel
    told = list(results)
    for at in reversed(range(len(results))):
        row = results[at].row
        kind = (row.oom_class, row.kernel_release)
        if row.answered_by == BY_STACKS and row.culprit is not None and row.at_ns is not None:
            answers[kind] = row.at_ns, row
        if row.answered_by != LACKING or row.at_ns is None or kind not in answers:
            continue
        at_ns, answer = answers[kind]
        if row.at_ns > at_ns:
            continue  # another boot
        who = f"{answer.culprit} [{answer.module}]" if answer.module else answer.culprit
        after = f"page owner data of a later OOM of this boot name {who}: explain that one"
        told[at] = replace(results[at], row=replace(row, answered_by=BY_STACKS, next=after))
    return told


def _result(verdict: Verdict, place: str) -> CaseResult:
    def kept(text: str) -> str:
        return _kept(text, place)

    findings = tuple(
        replace(
            finding,
            claim=kept(finding.claim),
            because=tuple(map(kept, finding.because)),
            refuted_by=kept(finding.refuted_by),
            next=kept(finding.next),
        )
        for finding in verdict.findings
    )
    row = _row(verdict, place)
    row = replace(row, headline=kept(row.headline or ""), next=kept(row.next or ""))
    return CaseResult(row, tuple(map(ConsumerRow.of, verdict.consumers[:MOST_CONSUMERS])), findings)


def _row(verdict: Verdict, place: str) -> CaseRow:
    answer, oom, kernel = verdict.answer, verdict.oom, verdict.kernel
    event: OomEvent | None = None if oom is None or oom.analysis is None else oom.analysis.event
    is_code = answer.holder_kind in (CULPRIT, CALL_SITE)
    return CaseRow(
        event=None if oom is None else oom.number,
        member=None if oom is None or oom.origin is None else _below(oom.origin, place),
        stamp=None if event is None else event.stamp,
        at_ns=verdict.at_ns if event is None else event.at_ns,
        kernel_release=(None if event is None else event.release) or _known(kernel.release),
        arch=_known(kernel.arch),
        page_size_bytes=None if isinstance(kernel.page_size_bytes, Unknown) else kernel.page_size_bytes,
        ram_pages=verdict.ram_pages,
        oom_class=answer.oom_class,
        also=() if oom is None else oom.also,
        certainty=answer.certainty,
        panic=None if oom is None else oom.panic,
        kind=None if event is None else event.kind,
        trigger_comm=None if event is None else event.asked.comm,
        trigger_order=None if event is None else event.asked.order,
        trigger_gfp=None if event is None else _gfp(event),
        culprit=answer.holder if is_code else None,
        module=answer.module,
        subsystem=None if answer.row is None else answer.row.culprit.subsystem,
        pages=answer.pages,
        share_of_ram=answer.share_of_ram,
        growth=None if answer.row is None else answer.row.growth,
        answered_by=answer.by,
        headline=answer.headline,
        next=answer.next,
        source=verdict.source,
        partial=verdict.partial,
        stacks=verdict.counted_stacks,
        counted_pages=verdict.counted_pages,
        unexplained_pages=None if verdict.balance is None else verdict.balance.unexplained_pages,
        signature=signature(verdict),
    )


def _below(origin: str, place: str) -> str | None:
    """What of an input's name stands behind the case's own place: `logs.zip: host/kern.log`, `folder/kern.log`."""
    behind = origin.removeprefix(place.rstrip("/"))
    return None if behind == origin else places.shown(behind.lstrip("/: ")) or None


def _gfp(event: OomEvent) -> str | None:
    asked = event.asked
    if asked.gfp_flags:
        return "|".join(asked.gfp_flags)
    return None if asked.gfp_mask is None else f"{asked.gfp_mask:#x}"


def _known(value: str | Unknown) -> str | None:
    return None if isinstance(value, Unknown) else value
