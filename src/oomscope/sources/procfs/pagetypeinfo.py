"""/proc/pagetypeinfo (mm/vmstat.c pagetypeinfo_show()): free blocks of each zone by order and migrate type."""

from __future__ import annotations

import re

from oomscope import bounds
from oomscope.model.free_area import FreeArea
from oomscope.model.reading import Notes
from oomscope.sources.base import AccountSource
from oomscope.text import Lines, printable

# The kernel stops counting at 100,000 blocks, to hold the zone's lock no longer, and prints `>100000`.
_ROW = re.compile(
    rb"Node ++(?P<node>\d{1,5}), zone ++(?P<zone>\S{1,20}), type ++(?P<type>\S{1,20})"
    rb"(?P<counts>(?: ++>?\d{1,12}+){2,20}+) *"
)
# Tables of blocks, not of free ones.
_ABOUT = re.compile(
    rb"|Page block order: .*|Pages per block: .*|Free pages count .*|Number of .*|Node +\d{1,5}, zone .*"
)


def _recognises(head: bytes) -> bool:
    """`Page block order: N` at the very beginning."""
    return re.match(rb"Page block order: \d{1,3}\r?\n", head) is not None


def _read(rows: Lines) -> Notes:
    """`notes.accounts.free_blocks` has a row for each zone and migrate type."""
    notes = Notes()
    found: list[FreeArea] = []
    for line in rows:
        row = _ROW.fullmatch(line or b"")
        if row is None:
            notes.stats.unknown_lines += line is None or _ABOUT.fullmatch(line) is None
            continue
        counts = tuple(int(count.removeprefix(b">")) for count in row["counts"].split())
        if len(found) >= bounds.ZONES:
            notes.stats.leave_out("zones")
            continue
        found.append(FreeArea(int(row["node"]), printable(row["zone"]), printable(row["type"]), counts))
    notes.accounts.free_blocks = tuple(found)
    return notes


PAGETYPEINFO = AccountSource("pagetypeinfo", _recognises, _read)
