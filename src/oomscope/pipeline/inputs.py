"""One input read: recognised, unpacked where it is an archive, added up here or by several processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from oomscope.attribution.selection import Selection
from oomscope.attribution.tally import Tally
from oomscope.errors import CorruptInput, NothingToExplain, OomscopeError, UnknownContent
from oomscope.io import archive
from oomscope.io.input import HEAD_BYTES, Input, Stream
from oomscope.io.kernel_files import must_be_read_whole
from oomscope.model.reading import Reading, Role
from oomscope.pipeline.memory import read_dump
from oomscope.pipeline.parallel import (
    PART_BYTES,
    Part,
    WorkersOutOfReachError,
    file_parts,
    stream_parts,
    tally_in_workers,
    worker_count,
)
from oomscope.sources import Source, recognise, source_named
from oomscope.sources.base import Added, Options, RowSource
from oomscope.sources.cgroupfs import figures
from oomscope.sources.kernel_log.source import KernelLog
from oomscope.sources.pasted.source import PastedText
from oomscope.sources.vmcore import is_kernel_image

# Told now and then while reading: which input, how much is done, how much there is (None: not known), of what.
Progress = Callable[[str, int, int | None, str], None]
BYTES, PAGES = "bytes", "pages"
_CONTROL = bytes(byte for byte in range(32) if byte < 9 or byte > 13)  # what no text has, but for tabs and line ends
_FOREIGN_LINES = 2  # behind an account: a prompt and a line of its answer


@dataclass(frozen=True, slots=True)
class Unused:
    """An input that took no part, and why."""

    origin: str
    error: OomscopeError


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """How every input is read; among the `inputs` may be the debug info of a dump beside them.

    `formats` are those of files that have been recognised already.
    """

    selection: Selection
    ranking_only: bool
    vmlinux: Path | None
    inputs: tuple[Input, ...]
    progress: Progress | None
    formats: Mapping[Path, str] = field(default_factory=dict)

    def source_of(self, each: Input, stream: Stream) -> Source | None:
        """What reads an input; text that no source knows by its beginning may be a log whose report comes late."""
        if (by_name := figures.source_of(each.origin.rsplit("/", 1)[-1])) is not None:
            return by_name
        known = None if each.path is None else self.formats.get(each.path)
        source = recognise(stream.head) if known is None else source_named(known)
        if source is None or isinstance(source, KernelLog):
            return PastedText() if stream.head and _is_text(stream.head) else source
        return source

    def pages_of(self, origin: str) -> Callable[[int, int], None] | None:
        """Progress in pages on one input."""
        progress = self.progress
        return None if progress is None else lambda done, total: progress(origin, done, total, PAGES)

    def options(self, each: Input) -> Options:
        """The same for a source that reads `each`."""

        def kernel_memory(stream: Stream) -> list[Reading]:
            return read_dump(
                each,
                stream,
                self.selection,
                vmlinux=self.vmlinux,
                images=images(self.inputs),
                dumps=tuple(other.path for other in self.inputs if other.path is not None and other.path.is_file()),
                ranking_only=self.ranking_only,
                progress=self.pages_of(each.origin),
            )

        return Options(self._chunks, self._add_up, kernel_memory)

    def _chunks(self, stream: Stream) -> Iterator[bytes]:
        for chunk in stream.chunks():
            if self.progress is not None:
                self.progress(stream.origin, stream.raw_bytes_done, stream.raw_size_bytes, BYTES)
            yield chunk

    def _add_up(self, source: RowSource, stream: Stream) -> Added:
        is_small = len(stream.head) < HEAD_BYTES or (stream.is_plain_file and (stream.raw_size_bytes or 0) < PART_BYTES)
        if source.separator is None or is_small or worker_count() == 1:
            return self._add_up_here(source, stream)
        try:
            return self._add_up_in_workers(source, stream, source.separator)
        except WorkersOutOfReachError:
            return self._add_up_here(source, stream)

    def _add_up_here(self, source: RowSource, stream: Stream) -> Added:
        parser = source.parser(ranking_only=self.ranking_only)
        tally = Tally(self.selection)
        for batch in parser.batches(self._chunks(stream)):
            tally.add(batch)
        return Added(tally.counts(), parser.notes)

    def _add_up_in_workers(self, source: RowSource, stream: Stream, separator: bytes) -> Added:
        parts: Iterable[Part]
        if stream.descriptor is not None and stream.raw_size_bytes is not None:
            parts = file_parts(stream.descriptor, stream.raw_size_bytes, separator)
        else:
            parts = stream_parts(stream.chunks(), separator)
        watch = _Watch(stream, self.progress)
        return tally_in_workers(source, parts, self.selection, ranking_only=self.ranking_only, on_part=watch.on_part)


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


def images(inputs: Iterable[Input]) -> tuple[Path, ...]:
    """Files that may be a vmlinux; what cannot be looked into is none."""
    found = []
    for each in inputs:
        if each.path is not None and each.path.is_file() and not must_be_read_whole(each.path):
            try:
                with each.path.open("rb") as file:
                    if is_kernel_image(file.read(64)):
                        found.append(each.path)
            except OSError:
                continue
    return tuple(found)


def read_input(each: Input, request: ReadRequest, unused: list[Unused]) -> list[Reading]:
    """The readings of one input; what of an archive took no part is added to `unused`. Raises OomscopeError."""
    stream = each.open()
    try:
        if is_kernel_image(stream.head):
            raise UnknownContent(f"{each.origin}: an ELF image: used where a core dump has its build-id", advice="")
        kind = archive.kind_of(stream.head)
        if kind is not None:
            return _read_archive(stream, kind, request, unused)
        source = request.source_of(each, stream)
        if source is None:
            raise _unrecognised(stream)
        return _read_text(source, stream, request.options(each))
    finally:
        stream.close()


def _read_text(source: Source, stream: Stream, options: Options) -> list[Reading]:
    """What the source reads; where lines of others stand behind an account, what the text holds of each kind."""
    readings = source.read(stream, options)
    is_small = len(stream.head) < HEAD_BYTES
    if source.role is Role.LOG or not is_small or sum(r.notes.stats.unknown_lines for r in readings) < _FOREIGN_LINES:
        return readings
    try:
        within = PastedText().read(stream, options)
    except OomscopeError:
        return readings
    return within if len(within) > len(readings) else readings


def _read_archive(stream: Stream, kind: str, request: ReadRequest, unused: list[Unused]) -> list[Reading]:
    """What an archive holds of known content; what it holds of other content is counted, what breaks in it is told."""
    readings: list[Reading] = []
    unknown: Counter[str] = Counter()
    request = replace(request, ranking_only=False)  # several moments need their times

    def take(member: Stream, within: Stream) -> None:
        each = Input(member.origin, None)
        source = request.source_of(each, member)
        if source is None:
            unknown[within.origin] += 1
            return
        try:
            readings.extend(_read_text(source, member, request.options(each)))
        except UnknownContent:
            if not isinstance(source, PastedText):
                raise
            unknown[within.origin] += 1  # a text like any other

    def refuse(origin: str, error: OomscopeError) -> None:
        unused.append(Unused(origin, error))

    archive.walk(stream, kind, archive.Budget(), take=take, refuse=refuse)
    for origin, count in unknown.items():
        unused.append(Unused(f"{count:,} files in {origin}", UnknownContent("they are of no known kind")))
    return readings


def _unrecognised(stream: Stream) -> OomscopeError:
    if not stream.head:
        if stream.defect is not None:
            return CorruptInput(f"{stream.origin}: {stream.defect}, nothing of it could be read")
        if "page_owner" in stream.origin:
            # As on Android, where the kernel's built-in command line has stack_depot_disable=on.
            advice = "page_owner is on and keeps no stack: boot with page_owner=on stack_depot_disable=off"
            return NothingToExplain(f"{stream.origin}: empty", advice=advice)
        return NothingToExplain(f"{stream.origin}: empty")
    return UnknownContent(f"{stream.origin}: binary data of no known kind")


def _is_text(head: bytes) -> bool:
    sample = head[:4096]
    return b"\0" not in sample and (len(sample) - len(sample.translate(None, _CONTROL))) * 20 <= len(sample)
