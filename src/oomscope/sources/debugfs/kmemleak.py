"""/sys/kernel/debug/kmemleak (mm/kmemleak.c print_unreferenced()): objects that nothing points to, and their stacks."""

from __future__ import annotations

import re

from oomscope import bounds
from oomscope.model.account import BYTES, UNREFERENCED, Entry, account
from oomscope.model.reading import Notes
from oomscope.model.stack import Frame
from oomscope.sources.base import AccountSource
from oomscope.sources.stack_table import StackTable
from oomscope.text import Lines, printable

_OBJECT = re.compile(
    rb"unreferenced object(?: \([^)\n]{1,40}\))? 0x(?P<address>[0-9a-f]{1,16}) \(size "
    rb"(?P<size>\d{1,18})\):"
)
_BACKTRACE = re.compile(rb" {1,8}backtrace(?: \(crc [0-9a-f]{1,8}\))?:")
_FRAME = b"  "
# As syzbot prints it: `[<addr>] f+0x1/0x2 mm/slub.c:3517`, and what is inlined there without an offset. The last frame
# may be cut within its offset; its name is whole.
_WITH_SOURCE = re.compile(
    rb"(?P<indent> +)(?:\[<[0-9a-f]{4,16}>\] )?(?P<frame>[\w.$]{1,200}(?:\+0x[0-9a-f]{1,8}/0x[0-9a-f]{1,8})?"
    rb"(?: \[[\w-]{1,60}\])?) (?:\.\./){0,40}+[\w./-]{1,200}\.[chS]:\d{1,7}(?P<inlined> \[inline\])?"
)
_CUT = re.compile(
    rb" +(?:\[<[0-9a-f]{4,16}>\] )?(?P<symbol>[A-Za-z_][\w.$]{1,200})\+0?x?[0-9a-f]{0,8}(?:/0?x?[0-9a-f]{0,8})?"
)
# Between an object's first line and its backtrace.
_ABOUT = re.compile(rb" {1,8}(?:comm \"|hex dump \(first \d{1,9} bytes|kmemleak_scan|  )")
_SIZE, _COUNT = 0, 1


def _recognises(head: bytes) -> bool:
    """`unreferenced object 0x... (size N):` at the very beginning."""
    return _OBJECT.match(head) is not None


def _read(rows: Lines) -> Notes:
    """`notes.accounts.tables` has the objects by stack. An object without a readable backtrace is a corrupt record."""
    objects = _Objects()
    size: int | None = None
    frames: list[Frame] | None = None
    for row in rows:
        line = b"\0" if row is None else row.rstrip(b" ")
        if begins := _OBJECT.fullmatch(line):
            objects.keep(size, frames)
            size, frames = int(begins["size"]), None
            if not objects.is_new(begins["address"]):
                size = None  # it stands there again, as mails quote it
        elif size is not None and frames is None and _BACKTRACE.fullmatch(line):
            frames = []
        elif frames is not None and (source := _WITH_SOURCE.fullmatch(line)) is not None:
            frame = None if source["inlined"] else objects.stacks.frame(source["frame"])
            if frame is not None and len(frames) < bounds.STACK_FRAMES:
                frames.append(frame)
        elif frames is not None and line.startswith(_FRAME) and (frame := _frame(objects.stacks, line)) is not None:
            if len(frames) < bounds.STACK_FRAMES:
                frames.append(frame)
        elif line and (size is None or frames is not None or _ABOUT.match(line) is None):
            objects.notes.stats.unknown_lines += 1
    objects.keep(size, frames)
    objects.notes.accounts.tables = account(UNREFERENCED, BYTES, "objects", objects.entries())
    return objects.notes


def _frame(stacks: StackTable, line: bytes) -> Frame | None:
    """The frame in a line, one that was cut behind its name included."""
    frame = stacks.frame(line)
    if frame is None and (cut := _CUT.fullmatch(line)) is not None:
        symbol = printable(cut["symbol"])
        return Frame(symbol, symbol)
    return frame


class _Objects:
    """Objects by the stack that allocated them."""

    def __init__(self) -> None:
        self.notes = Notes()
        self.stacks = StackTable()
        self._held: dict[int, list[int]] = {}
        self._addresses: set[bytes] = set()

    def is_new(self, address: bytes) -> bool:
        """Whether an object of this address was not there yet."""
        known = address in self._addresses
        if len(self._addresses) < bounds.NAMES and int(address, 16):
            self._addresses.add(address)
        return not known

    def entries(self) -> list[Entry]:
        """A row for each stack."""
        stacks = self.stacks.tables.stacks
        return [Entry("no culprit", of[_SIZE], of[_COUNT], stack=stacks[at]) for at, of in self._held.items()]

    def keep(self, size: int | None, frames: list[Frame] | None) -> None:
        """An object that ends here; None for none."""
        if size is None:
            return
        if not frames:
            self.notes.stats.corrupt_records += 1
            return
        index = self.stacks.index(frames)
        if index is None:
            self.notes.stats.leave_out("stacks")
            return
        self.notes.stats.records += 1
        held = self._held.setdefault(index, [0, 0])
        held[_SIZE] += size
        held[_COUNT] += 1


KMEMLEAK = AccountSource("kmemleak", _recognises, _read)
