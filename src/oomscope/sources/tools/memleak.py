"""`memleak` of bcc and its port to libbpf: what was allocated while it watched and is not freed yet, by stack."""

from __future__ import annotations

import re

from oomscope import bounds
from oomscope.model.account import BYTES, OUTSTANDING, Entry, account
from oomscope.model.reading import Notes
from oomscope.model.stack import Frame
from oomscope.sources.base import AccountSource
from oomscope.sources.stack_table import StackTable
from oomscope.text import Lines, printable

TITLE = re.compile(rb"\s*(?:\[\d\d:\d\d:\d\d\] )?Top \d{1,9} stacks with outstanding allocations:")
STACK = re.compile(rb"\s*(?P<size>\d{1,18}) bytes in (?P<count>\d{1,15}) allocations from stack\s*$")
FRAME = re.compile(
    rb"\s+(?:\d{1,3} \[<[0-9a-f]{8,16}>\] |0x[0-9a-f]{8,16}\s+)?(?P<symbol>[\w.$:~<>]{1,200})"
    rb"\+0x(?P<offset>[0-9a-f]{1,12})"
    rb"(?: \[(?P<module>[\w.+-]{1,60})\])?"
)
UNKNOWN = re.compile(rb"\s+(?:\d{1,3} \[<[0-9a-f]{8,16}>\] |0x[0-9a-f]{8,16}\s+)?(?:\[unknown\]|<null sym>)")
# The C library hands out memory and holds none.
_ALLOCATOR = re.compile(r"(?:ld-|lib(?:c|jemalloc|tcmalloc|stdc\+\+)\b)")


def _recognises(head: bytes) -> bool:
    """The title of the list, or a stack's line, at the very beginning."""
    first = head[:4096].lstrip(b"\r\n").partition(b"\n")[0].rstrip(b"\r")
    return TITLE.match(first) is not None or STACK.match(first) is not None


def _read(rows: Lines) -> Notes:
    """`notes.accounts.tables` has the last list, by stack."""
    notes = Notes()
    stacks = StackTable()
    held: list[tuple[int, int, list[Frame]]] = []
    for line in rows:
        text = line or b""
        if TITLE.match(text) is not None:
            held = []  # each list is of what is outstanding at its time
        elif (begins := STACK.match(text)) is not None and int(begins["size"]) > bounds.ROW_BYTES:
            notes.stats.corrupt_records += 1
        elif begins is not None and len(held) < bounds.NAMES:
            held.append((int(begins["size"]), int(begins["count"]), []))
        elif held and (match := FRAME.match(text)) is not None:
            frame = _frame(match)
            if _ALLOCATOR.match(frame.module or "") is None and len(held[-1][2]) < bounds.STACK_FRAMES:
                held[-1][2].append(frame)
        elif line is None or (text.strip() and UNKNOWN.match(text) is None):
            notes.stats.unknown_lines += 1
    entries = []
    for size, count, frames in held:
        index = stacks.index(frames) if frames else None
        stack = None if index is None else stacks.tables.stacks[index]
        entries.append(Entry("no culprit" if frames else "a stack without names", size, count, stack=stack))
    notes.accounts.tables = account(OUTSTANDING, BYTES, "allocations", entries)
    return notes


def _frame(match: re.Match[bytes]) -> Frame:
    """Its functions have no size, and the kernel itself is its module."""
    symbol = printable(match["symbol"])
    module = None if match["module"] in (None, b"kernel") else printable(match["module"])
    text = f"{symbol}+0x{match['offset'].decode()}" + ("" if module is None else f" [{module}]")
    return Frame(text, symbol, int(match["offset"], 16), None, module)


MEMLEAK = AccountSource("memleak", _recognises, _read)
