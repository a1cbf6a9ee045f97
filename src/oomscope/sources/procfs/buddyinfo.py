"""/proc/buddyinfo (mm/vmstat.c frag_show()): free blocks of each zone by order."""

from __future__ import annotations

import re

from oomscope import bounds
from oomscope.model.free_area import FreeArea
from oomscope.model.reading import Notes
from oomscope.sources.base import AccountSource
from oomscope.text import Lines, first_line, printable

# Each number has a blank behind it, and is right-aligned in six columns (frag_show_print()).
_ROW = re.compile(rb"Node (?P<node>\d{1,5}), zone ++(?P<zone>\S{1,20})(?P<counts>(?: ++\d{1,12}+){2,20}+) *")


def _recognises(head: bytes) -> bool:
    """A whole row at the very beginning."""
    return _ROW.fullmatch(first_line(head)) is not None


def _read(rows: Lines) -> Notes:
    """`notes.accounts.free_blocks` has the zones."""
    notes = Notes()
    found: list[FreeArea] = []
    for line in rows:
        row = _ROW.fullmatch(line or b"")
        if row is None:
            notes.stats.unknown_lines += line != b""
            continue
        counts = tuple(map(int, row["counts"].split()))
        if len(found) >= bounds.ZONES:
            notes.stats.leave_out("zones")
            continue
        found.append(FreeArea(int(row["node"]), printable(row["zone"]), None, counts))
    notes.accounts.free_blocks = tuple(found)
    return notes


BUDDYINFO = AccountSource("buddyinfo", _recognises, _read)
