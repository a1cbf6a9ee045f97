"""/sys/kernel/debug/kmemleak (mm/kmemleak.c print_unreferenced()): objects that nothing points to, and their stacks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from oomscope import bounds
from oomscope.model.account import BYTES, UNREFERENCED, Entry, account
from oomscope.model.batch import Batch
from oomscope.model.reading import Notes
from oomscope.model.stack import Frame
from oomscope.sources.stack_table import StackTable
from oomscope.text import lines

_OBJECT = re.compile(rb"unreferenced object(?: \([^)\n]{1,40}\))? 0x[0-9a-f]{1,16} \(size (?P<size>\d{1,18})\):")
_BACKTRACE = re.compile(rb" {2}backtrace(?: \(crc [0-9a-f]{1,8}\))?:")
_FRAME = b"    "
# Between an object's first line and its backtrace.
_ABOUT = re.compile(rb" {2}(?:comm \"|hex dump \(first \d{1,9} bytes|kmemleak_scan|  )")
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
        self._stacks = StackTable()
        self._held: dict[int, list[int]] = {}

    def batches(self, chunks: Iterable[bytes]) -> Iterator[Batch]:
        """No rows."""
        size: int | None = None
        frames: list[Frame] | None = None
        for line in lines(chunks):
            line = b"\0" if line is None else line.rstrip(b" ")
            if begins := _OBJECT.fullmatch(line):
                self._keep(size, frames)
                size, frames = int(begins["size"]), None
            elif size is not None and frames is None and _BACKTRACE.fullmatch(line):
                frames = []
            elif frames is not None and line.startswith(_FRAME) and (frame := self._stacks.frame(line)) is not None:
                if len(frames) < bounds.STACK_FRAMES:
                    frames.append(frame)
            elif line and (size is None or frames is not None or _ABOUT.match(line) is None):
                self.notes.unknown_lines += 1
        self._keep(size, frames)
        stacks = self._stacks.tables.stacks
        entries = [Entry("no culprit", of[_SIZE], of[_COUNT], stack=stacks[at]) for at, of in self._held.items()]
        self.notes.accounts = account(UNREFERENCED, BYTES, "objects", entries)
        yield from ()

    def _keep(self, size: int | None, frames: list[Frame] | None) -> None:
        if size is None:
            return
        if not frames:
            self.notes.corrupt_records += 1
            return
        index = self._stacks.index(frames)
        if index is None:
            self.notes.leave_out("stacks")
            return
        self.notes.records += 1
        held = self._held.setdefault(index, [0, 0])
        held[_SIZE] += size
        held[_COUNT] += 1
