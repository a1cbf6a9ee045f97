"""Sources to Evidence to Verdict: what the command does, as two functions."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from oomscope.attribution.groups import OF_RECORDS
from oomscope.attribution.selection import Selection
from oomscope.attribution.tally import Tally
from oomscope.attribution.timeline import arrange
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
from oomscope.io import archive
from oomscope.io.input import HEAD_BYTES, Input, Stream, inputs
from oomscope.io.kernel_files import must_be_read_whole
from oomscope.model.counts import Counts
from oomscope.model.diff import Difference
from oomscope.model.evidence import Evidence
from oomscope.model.reading import Notes, Reading
from oomscope.model.unknown import Inaccessible, Unknown
from oomscope.model.verdict import Verdict
from oomscope.pipeline.memory import ARMED, TRACKED, read_armed, read_dump, read_live, read_tracked
from oomscope.pipeline.parallel import (
    PART_BYTES,
    Part,
    WorkersOutOfReachError,
    file_parts,
    stream_parts,
    tally_in_workers,
    worker_count,
)
from oomscope.sources import Source, recognise
from oomscope.sources.by_folder import told_by_folder
from oomscope.sources.kernel_log.source import KernelLog
from oomscope.sources.vmcore import LIVE, Vmcore, is_kernel_image
from oomscope.verdict import Question, judge, judge_each
from oomscope.verdict.diff import difference, moments_apart

Paths = str | os.PathLike[str]
# Told now and then while reading: which input, how much is done, how much there is (None: not known), of what.
Progress = Callable[[str, int, int | None, str], None]
BYTES, PAGES = "bytes", "pages"
Made = TypeVar("Made")
_READINGS_TRIED = 64  # one after the other, where all of them together meet a bug


def read(
    *paths: Paths,
    selection: Selection | None = None,
    ranking_only: bool = False,
    page_size_bytes: int | None = None,
    records_only: bool = False,
    vmlinux: Paths | None = None,
    live: bool = False,
    progress: Progress | None = None,
) -> Evidence:
    """Read all inputs of one machine: files, directories (searched through), `-` for standard input.

    `selection` leaves records out while reading; `ranking_only` reads stacks and pages and no more, which is faster
    (for a single input: the order of several needs times); `page_size_bytes` says what the input does not tell; with
    `records_only`, what tells no records (at-panic lines, page_owner_stacks) takes no part where a page_owner dump
    does. `vmlinux` is debug info for a core dump (else one with its build-id is looked for); with `live`, this machine
    is read too: its memory where that is allowed, its text files where not. Raises NothingToExplain, Unreadable,
    NoAccess or BadQuestion (oomscope.errors) where there is nothing to return.
    """
    selection = selection or Selection()
    readings: list[Reading] = []
    unused: list[_Unused] = []
    found = [*inputs(paths), *(live_files() if live else ())]
    # Several inputs may be several moments, and the ranking alone does not tell their order.
    ranking_only = ranking_only and len(found) + live == 1
    options = _Options(selection, ranking_only, None if vmlinux is None else Path(vmlinux), _images(found), progress)
    if live:
        try:
            readings += read_live(
                selection, vmlinux=options.vmlinux, ranking_only=ranking_only, progress=options.pages_of(LIVE)
            )
            found = [each for each in found if each.path != PAGE_OWNER]
        except NoAccess as error:
            unused.append(_Unused(LIVE, error))
            for origin, ask in ((ARMED, read_armed), (TRACKED, read_tracked)):
                try:
                    readings += ask()
                except OomscopeError as other:
                    unused.append(_Unused(origin, other))
    for each in found:
        try:
            with isolated(each.origin):
                readings += _read_one(each, options, unused)
        except OomscopeError as error:
            unused.append(_Unused(each.origin, error))
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
        lambda used, left: arrange(used, left, page_size_bytes=page_size_bytes, records_only=records_only),
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
    if notes.accounts or notes.cache_objects:
        return True
    if not of_holders and (notes.free_blocks or notes.counters or notes.meminfo is not None):
        return True
    has_counts = reading.counts is not None and bool(reading.notes.records or reading.census is not None)
    return has_counts or bool(reading.notes.events)


def explain(
    *paths: Paths,
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
        *paths,
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
            of = arrange(readings, skipped, page_size_bytes=page_size_bytes, records_only=records_only)
        return judge(of, question, chosen)

    return _without_what_fails(judged, evidence.readings, evidence.unused)


def explain_events(
    *paths: Paths, page_size_bytes: int | None = None, progress: Progress | None = None
) -> list[Verdict]:
    """A verdict on every OOM event of a log, in their order in time.

    Errors are those of `read`; NothingToExplain where there is no event.
    """
    evidence = read(*paths, page_size_bytes=page_size_bytes, progress=progress)
    if not evidence.events:
        raise NothingToExplain(f"{evidence.latest.reading.origin}: no OOM event in it")
    return judge_each(evidence)


@dataclass(frozen=True, slots=True)
class _Unused:
    origin: str
    error: OomscopeError


@dataclass(frozen=True, slots=True)
class _Options:
    """How every input is read; `images` are files that may be the debug info of a dump beside them."""

    selection: Selection
    ranking_only: bool
    vmlinux: Path | None
    images: tuple[Path, ...]
    progress: Progress | None

    def pages_of(self, origin: str) -> Callable[[int, int], None] | None:
        """Progress in pages on one input."""
        progress = self.progress
        return None if progress is None else lambda done, total: progress(origin, done, total, PAGES)


def _images(found: Iterable[Input]) -> tuple[Path, ...]:
    """Files that may be a vmlinux; what cannot be looked into is none."""
    images = []
    for each in found:
        if each.path is not None and each.path.is_file() and not must_be_read_whole(each.path):
            try:
                with each.path.open("rb") as file:
                    if is_kernel_image(file.read(64)):
                        images.append(each.path)
            except OSError:
                continue
    return tuple(images)


def _read_one(each: Input, options: _Options, unused: list[_Unused]) -> list[Reading]:
    if each.path in options.images:
        raise UnknownContent(f"{each.origin}: an ELF image: used where a core dump has its build-id", advice="")
    stream = each.open()
    try:
        kind = archive.kind_of(stream.head)
        if kind is not None:
            return _read_archive(stream, kind, options, unused)
        source = recognise(stream.head) or _text_of_any_kind(stream)
        return _read_stream(each, stream, source, options)
    finally:
        stream.close()


def _read_archive(stream: Stream, kind: str, options: _Options, unused: list[_Unused]) -> list[Reading]:
    """What an archive holds of known content; what it holds of other content is counted, what breaks in it is told."""
    readings: list[Reading] = []
    unknown: Counter[str] = Counter()
    options = replace(options, ranking_only=False)  # several moments need their times

    def take(member: Stream, within: Stream) -> None:
        source = recognise(member.head)
        if source is None:
            unknown[within.origin] += 1
        else:
            readings.extend(_read_stream(Input(member.origin, None), member, source, options))

    def refuse(origin: str, error: OomscopeError) -> None:
        unused.append(_Unused(origin, error))

    archive.walk(stream, kind, archive.Budget(), take=take, refuse=refuse)
    for origin, count in unknown.items():
        unused.append(_Unused(f"{count:,} files in {origin}", UnknownContent("they are of no known kind")))
    return readings


def _read_stream(each: Input, stream: Stream, source: Source | None, options: _Options) -> list[Reading]:
    selection, ranking_only, progress = options.selection, options.ranking_only, options.progress
    if source is None:
        raise _unrecognised(each.origin, stream)
    if isinstance(source, Vmcore):
        return read_dump(
            each,
            stream,
            selection,
            vmlinux=options.vmlinux,
            images=options.images,
            ranking_only=ranking_only,
            progress=options.pages_of(each.origin),
        )
    is_small = len(stream.head) < HEAD_BYTES or (stream.is_plain_file and (stream.raw_size_bytes or 0) < PART_BYTES)
    defect = None
    if source.separator is None or is_small or worker_count() == 1:
        counts, notes = _tally_here(stream, source, selection, ranking_only, progress)
    else:
        try:
            counts, notes, defect = _tally_in_workers(
                stream, source, source.separator, selection, ranking_only, progress
            )
        except WorkersOutOfReachError:
            counts, notes = _tally_here(stream, source, selection, ranking_only, progress)
    if isinstance(source, KernelLog) and not (notes.reports or notes.events or source.recognises(stream.head)):
        raise _unrecognised(each.origin, stream)
    return [told_by_folder(Reading(each.origin, source.format, notes, counts, stream.defect or defect))]


def _text_of_any_kind(stream: Stream) -> Source | None:
    """Text that no source knows by its beginning may be a log whose report comes late."""
    return KernelLog() if stream.head and _is_text(stream.head) else None


def _tally_here(
    stream: Stream, source: Source, selection: Selection, ranking_only: bool, progress: Progress | None
) -> tuple[Counts, Notes]:
    parser = source.parser(ranking_only=ranking_only)
    tally = Tally(selection)
    for batch in parser.batches(_watched(stream, progress)):
        tally.add(batch)
    return tally.counts(), parser.notes


def _tally_in_workers(
    stream: Stream,
    source: Source,
    separator: bytes,
    selection: Selection,
    ranking_only: bool,
    progress: Progress | None,
) -> tuple[Counts, Notes, str | None]:
    parts: Iterable[Part]
    if stream.descriptor is not None and stream.raw_size_bytes is not None:
        parts = file_parts(stream.descriptor, stream.raw_size_bytes, separator)
    else:
        parts = stream_parts(stream.chunks(), separator)
    watch = _Watch(stream, progress)
    return tally_in_workers(source, parts, selection, ranking_only=ranking_only, on_part=watch.on_part)


class _Watch:
    """Turns parts done into progress on the input."""

    def __init__(self, stream: Stream, progress: Progress | None) -> None:
        self._stream = stream
        self._progress = progress
        self._bytes_done = 0

    def on_part(self, size_bytes: int) -> None:
        self._bytes_done += size_bytes
        done = self._bytes_done if self._stream.is_plain_file else self._stream.raw_bytes_done
        if self._progress is not None:
            self._progress(self._stream.origin, done, self._stream.raw_size_bytes, BYTES)


def _watched(stream: Stream, progress: Progress | None) -> Iterator[bytes]:
    for chunk in stream.chunks():
        if progress is not None:
            progress(stream.origin, stream.raw_bytes_done, stream.raw_size_bytes, BYTES)
        yield chunk


def _unrecognised(origin: str, stream: Stream) -> OomscopeError:
    if not stream.head:
        if stream.defect is not None:
            return CorruptInput(f"{origin}: {stream.defect}, nothing of it could be read")
        return NothingToExplain(f"{origin}: empty")
    kind = "text, but of no kind that is known here" if _is_text(stream.head) else "binary data of no known kind"
    return UnknownContent(f"{origin}: {kind}")


def _is_text(head: bytes) -> bool:
    sample = head[:4096]
    return b"\0" not in sample and sum(byte < 9 or 13 < byte < 32 for byte in sample) * 20 <= len(sample)


def _why_nothing(readings: list[Reading], unused: list[_Unused]) -> OomscopeError:
    """The one error that says best why there is no evidence."""
    empty_dumps = [r for r in readings if r.format.startswith("page_owner")]
    if empty_dumps:
        first = empty_dumps[0]
        if first.notes.corrupt_records:
            return CorruptInput(f"{first.origin}: not one of {first.notes.corrupt_records:,} records is whole")
        return NothingToExplain(f"{first.origin}: {first.format} without a single count")
    problem = max((u.error for u in unused), key=lambda e: e.exit_code, default=None)
    logs = [r for r in readings if r.format == "kernel log"]
    if logs and (problem is None or problem.exit_code <= Unreadable.exit_code):
        ends = "" if logs[0].defect is None else f", as far as it could be read: {logs[0].defect}"
        return NothingToExplain(f"{logs[0].origin}: a kernel log without any OOM or allocation failure{ends}")
    if isinstance(problem, NoAccess):
        return problem
    if readings:
        known = ", ".join(sorted({r.format for r in readings}))
        return NothingToExplain(f"{readings[0].origin}: only {known}, which does not say who holds memory")
    if problem is None:
        return NothingToExplain("no files in what was given")
    if len(unused) == 1 or isinstance(problem, NoAccess | BadQuestion):
        return problem
    return UnknownContent(f"nothing known among {len(unused)} files; the first: {unused[0].error}")
