"""/sys/kernel/debug/kmemleak (mm/kmemleak.c print_unreferenced()): objects that nothing points to, and their stacks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from oomscope.model.batch import Batch
from oomscope.model.ledger import BYTES, UNREFERENCED, Entry, ledger
from oomscope.model.reading import Notes
from oomscope.model.stack import Frame, Stack, parse_frame
from oomscope.sources.base import lines, printable

_OBJECT = re.compile(rb"unreferenced object(?: \([^)\n]{1,40}\))? 0x[0-9a-f]{1,16} \(size (?P<size>\d{1,19})\): *")
_BACKTRACE = re.compile(rb" {2}backtrace(?: \(crc [0-9a-f]{1,8}\))?: *")
_FRAME = re.compile(rb" {4}(?P<frame>\S.{0,600}?) *")
# Between an object's first line and its backtrace.
_ABOUT = re.compile(
    rb" {2}(?:comm \".*\", pid -?\d+, jiffies \d+.*|hex dump \(first \d+ bytes.*|kmemleak_scan.*)| {4}.*"
)
_SIZE, _COUNT = 0, 1


class KmemleakText:
    """The format: an unreferenced object in the first line."""

    format = "kmemleak"
    separator: bytes | None = None

    def recognises(self, head: bytes) -> bool:
        """`unreferenced object 0x... (size N):` at the very beginning."""
        return _OBJECT.match(head) is not None

    def parser(self, *, ranking_only: bool) -> KmemleakParser:  # noqa: ARG002 - it has nothing to leave out
        """A parser for one file."""
        return KmemleakParser()


class KmemleakParser:
    """Yields no rows; `notes.ledgers` has the objects by stack; see Parser.

    An object without a readable backtrace is a spoilt record.
    """

    def __init__(self) -> None:
        self.notes = Notes()
        self._held: dict[Stack, list[int]] = {}
        self._frame_of: dict[bytes, Frame | None] = {}

    def batches(self, chunks: Iterable[bytes]) -> Iterator[Batch]:
        """No rows."""
        size: int | None = None
        frames: list[Frame] | None = None
        for line in lines(chunks):
            line = b"\0" if line is None else line
            if begins := _OBJECT.fullmatch(line):
                self._keep(size, frames)
                size, frames = int(begins["size"]), None
            elif size is not None and frames is None and _BACKTRACE.fullmatch(line):
                frames = []
            elif frames is not None and (frame := self._frame(line)) is not None:
                frames.append(frame)
            elif line and (size is None or frames is not None or _ABOUT.fullmatch(line) is None):
                self.notes.unknown_lines += 1
        self._keep(size, frames)
        entries = [Entry("no culprit", held[_SIZE], held[_COUNT], stack=stack) for stack, held in self._held.items()]
        self.notes.ledgers = ledger(UNREFERENCED, BYTES, "objects", entries)
        yield from ()

    def _frame(self, line: bytes) -> Frame | None:
        if line not in self._frame_of:
            match = _FRAME.fullmatch(line)
            self._frame_of[line] = None if match is None else parse_frame(printable(match["frame"]))
        return self._frame_of[line]

    def _keep(self, size: int | None, frames: list[Frame] | None) -> None:
        if size is None:
            return
        if not frames:
            self.notes.spoilt_records += 1
            return
        self.notes.records += 1
        held = self._held.setdefault(Stack(tuple(frames)), [0, 0])
        held[_SIZE] += size
        held[_COUNT] += 1
