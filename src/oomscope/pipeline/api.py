"""Sources to Evidence to Verdict: what the command does, as two functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from oomscope.attribution import timeline
from oomscope.attribution.groups import OF_RECORDS
from oomscope.attribution.selection import Selection
from oomscope.errors import (
    BadQuestion,
    CorruptInput,
    NoAccess,
    NothingToExplain,
    OomscopeError,
    UnknownContent,
    Unreadable,
    foreseen,
    isolated,
)
from oomscope.host.live_files import PAGE_OWNER, live_files
from oomscope.io.content import Content, Paths
from oomscope.io.input import inputs
from oomscope.model.diff import Difference
from oomscope.model.evidence import Evidence
from oomscope.model.reading import Reading, Role
from oomscope.model.unknown import Inaccessible, Unknown
from oomscope.model.verdict import Verdict
from oomscope.pipeline.inputs import Progress, ReadRequest, Unused, read_input
from oomscope.pipeline.memory import ARMED, TRACKED, read_armed, read_live, read_tracked
from oomscope.sources.vmcore import LIVE
from oomscope.verdict import Question, judge, judge_each
from oomscope.verdict.diff import difference, moments_apart

Made = TypeVar("Made")
_READINGS_TRIED = 64  # one after the other, where all of them together meet a bug


def read(
    *given: Paths | Content,
    selection: Selection | None = None,
    ranking_only: bool = False,
    page_size_bytes: int | None = None,
    records_only: bool = False,
    vmlinux: Paths | None = None,
    live: bool = False,
    progress: Progress | None = None,
    formats: Mapping[Path, str] | None = None,
) -> Evidence:
    """Read all inputs of one machine: files, directories (searched through), `-` for standard input, or content.

    A str or Path names a file; bytes and open files are content, and so is an iterable of lines (str or bytes).

    `selection` leaves records out while reading; `ranking_only` reads stacks and pages and no more, which is faster
    (for a single input: the order of several needs times); `page_size_bytes` says what the input does not tell; with
    `records_only`, what tells no records (at-panic lines, page_owner_stacks) takes no part where a page_owner dump
    does. `vmlinux` is debug info for a core dump (else one with its build-id is looked for); with `live`, this machine
    is read too: its memory where that is allowed, its text files where not. `formats` are those of files that have been
    recognised already. Raises NothingToExplain, Unreadable, NoAccess or BadQuestion (oomscope.errors) where there is
    nothing to return.
    """
    selection = selection or Selection()
    readings: list[Reading] = []
    unused: list[Unused] = []
    found = [*inputs(given), *(live_files() if live else ())]
    # Several inputs may be several moments, and the ranking alone does not tell their order.
    ranking_only = ranking_only and len(found) + live == 1
    image = None if vmlinux is None else Path(vmlinux)
    request = ReadRequest(selection, ranking_only, image, tuple(found), progress, formats or {})
    if live:
        try:
            readings += read_live(
                selection, vmlinux=request.vmlinux, ranking_only=ranking_only, progress=request.pages_of(LIVE)
            )
            found = [each for each in found if each.path != PAGE_OWNER]
        except NoAccess as error:
            unused.append(Unused(LIVE, error))
            for origin, ask in ((ARMED, read_armed), (TRACKED, read_tracked)):
                try:
                    readings += ask()
                except OomscopeError as other:
                    unused.append(Unused(origin, other))
    for each in found:
        try:
            with isolated(each.origin):
                readings += read_input(each, request, unused)
        except OomscopeError as error:
            unused.append(Unused(each.origin, error))
    if not any(_tells_something(reading, of_holders=live) for reading in readings):
        raise _why_nothing(readings, unused)
    skipped = tuple(
        (Inaccessible if isinstance(u.error, NoAccess) else Unknown)(
            u.origin, str(u.error).removeprefix(f"{u.origin}: ")
        )
        for u in unused
    )
    records_only = records_only or bool(selection.asks_of_records)
    return _without_what_fails(
        lambda used, left: timeline.build(used, left, page_size_bytes=page_size_bytes, records_only=records_only),
        tuple(readings),
        skipped,
    )


def _without_what_fails(
    work: Callable[[tuple[Reading, ...], tuple[Unknown, ...]], Made],
    readings: tuple[Reading, ...],
    skipped: tuple[Unknown, ...],
) -> Made:
    """What `work` makes of all readings; where it meets a bug of ours, of all but the one that it was met with.

    That one is told among those left out. Raises InternalError where no single one is the reason.
    """
    try:
        return work(readings, skipped)
    except OomscopeError:
        raise
    except Exception as error:
        met = foreseen(error)
        for index in reversed(range(len(readings) if len(readings) <= _READINGS_TRIED else 0)):
            others = (*readings[:index], *readings[index + 1 :])
            if not any(_tells_something(reading, of_holders=False) for reading in others):
                continue
            reason = f"{met}: {met.advice}"
            try:
                return work(others, (*skipped, Unknown(readings[index].origin, reason)))
            except Exception:  # noqa: BLE001 - it was not this one
                continue
        raise met from error


def compare(
    before: Paths,
    after: Paths | None = None,
    *,
    page_size_bytes: int | None = None,
    progress: Progress | None = None,
) -> Difference:
    """What changed between two readings of a machine, or between the earliest and the latest moment of one.

    Errors are those of `read`, and NothingToExplain where the two have nothing in common.
    """
    one = read(before, page_size_bytes=page_size_bytes, progress=progress)
    if after is None:
        return difference(*moments_apart(one))
    other = read(after, page_size_bytes=page_size_bytes, progress=progress)
    return difference(one, other)


def _tells_something(reading: Reading, *, of_holders: bool) -> bool:
    """Whether there is anything to explain: counts, a census, an OOM event, an account of the kernel's own.

    `of_holders`: counters alone are not enough. Whoever asks a living machine is told why it gave no more.
    """
    notes = reading.notes
    if notes.accounts.tables or notes.accounts.cache_objects or notes.accounts.memcg is not None:
        return True
    if not of_holders and (notes.accounts.free_blocks or notes.accounts.counters or notes.accounts.meminfo is not None):
        return True
    return reading.has_counts or bool(notes.log.events)


def explain(
    *given: Paths | Content,
    selection: Selection | None = None,
    question: Question | None = None,
    ranking_only: bool = False,
    page_size_bytes: int | None = None,
    vmlinux: Paths | None = None,
    live: bool = False,
    progress: Progress | None = None,
) -> Verdict:
    """Who ate it: read the inputs and judge them. Parameters and errors as for `read`; `question` asks for groups."""
    question = question or Question()
    evidence = read(
        *given,
        selection=selection,
        ranking_only=ranking_only,
        page_size_bytes=page_size_bytes,
        records_only=question.by in OF_RECORDS,
        vmlinux=vmlinux,
        live=live,
        progress=progress,
    )
    chosen = selection or Selection()
    records_only = question.by in OF_RECORDS or bool(chosen.asks_of_records)

    def judged(readings: tuple[Reading, ...], skipped: tuple[Unknown, ...]) -> Verdict:
        of = evidence
        if len(readings) != len(evidence.readings):
            of = timeline.build(readings, skipped, page_size_bytes=page_size_bytes, records_only=records_only)
        return judge(of, question, chosen)

    return _without_what_fails(judged, evidence.readings, evidence.unused)


def explain_events(
    *given: Paths | Content, page_size_bytes: int | None = None, progress: Progress | None = None
) -> list[Verdict]:
    """A verdict on every OOM event of a log, in their order in time.

    Errors are those of `read`; NothingToExplain where there is no event.
    """
    evidence = read(*given, page_size_bytes=page_size_bytes, progress=progress)
    if not evidence.events:
        raise NothingToExplain(f"{evidence.latest.reading.origin}: no OOM event in it")
    return judge_each(evidence)


def _why_nothing(readings: list[Reading], unused: list[Unused]) -> OomscopeError:
    """The one error that says best why there is no evidence."""
    empty_dumps = [r for r in readings if r.role in (Role.DUMP, Role.STACK_COUNTS)]
    if empty_dumps:
        first = empty_dumps[0]
        if first.notes.stats.corrupt_records:
            return CorruptInput(f"{first.origin}: not one of {first.notes.stats.corrupt_records:,} records is whole")
        return NothingToExplain(f"{first.origin}: {first.format} without a single count")
    problem = max((u.error for u in unused), key=lambda e: e.exit_code, default=None)
    logs = [r for r in readings if r.role is Role.LOG]
    if logs and (problem is None or problem.exit_code <= Unreadable.exit_code):
        ends = "" if logs[0].defect is None else f", as far as it could be read: {logs[0].defect}"
        if told := next((unknown.reason for log in logs for unknown in log.notes.absent), None):
            return NothingToExplain(f"{logs[0].origin}: {told}{ends}", advice="")
        return NothingToExplain(f"{logs[0].origin}: a kernel log without any OOM or allocation failure{ends}")
    if isinstance(problem, NoAccess):
        return problem
    if readings:
        known = ", ".join(sorted({r.format for r in readings}))
        missing = next(
            (f": {u.reason}" for r in readings for u in r.notes.absent), ", which does not say who holds memory"
        )
        return NothingToExplain(f"{readings[0].origin}: only {known}{missing}")
    if problem is None:
        return NothingToExplain("no files in what was given")
    if len(unused) == 1 or isinstance(problem, NoAccess | BadQuestion):
        return problem
    return UnknownContent(f"nothing known among {len(unused)} files; the first: {unused[0].error}")
