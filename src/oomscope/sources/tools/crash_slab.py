"""`kmem -s` as the crash tool prints it: the slab caches of a core dump."""

from __future__ import annotations

import re

from oomscope.model.account import BYTES, SLAB_CACHE
from oomscope.model.reading import Notes
from oomscope.sources.base import AccountSource
from oomscope.sources.entries import Entries
from oomscope.text import Lines, printable

HEADER = re.compile(rb" *+CACHE +(?:NAME +)?OBJSIZE +ALLOCATED +TOTAL +SLABS +SSIZE(?: +NAME)?\s*$")
ROW = re.compile(
    rb" *+[0-9a-f]{8,16} +(?:(?P<first>\S(?:\S| (?=\S)){0,80}) +)?\d{1,9} +(?P<allocated>\d{1,15}) +\d{1,15} +"
    rb"(?P<slabs>\d{1,15}) +(?P<kib>\d{1,9})k(?: +(?P<name>\S(?:\S| (?=\S)){0,80}))?\s*$"
)


# What crash remarks in between.
ABOUT = re.compile(rb"kmem: ")


def _recognises(head: bytes) -> bool:
    """The header at the very beginning."""
    return HEADER.match(head[:4096].lstrip(b"\r\n").partition(b"\n")[0].rstrip(b"\r")) is not None


def _read(rows: Lines) -> Notes:
    """`notes.accounts.tables` has the caches, in bytes (slabs times the size of one), and their objects in use."""
    notes = Notes()
    found = Entries(notes)
    for line in rows:
        match = None if line is None else ROW.match(line)
        name = None if match is None else match["name"] or match["first"]
        if match is not None and name is not None:
            found.add(printable(name), int(match["slabs"]) * int(match["kib"]) * 1024, int(match["allocated"]))
        elif line is None or (line.strip() and HEADER.match(line) is None and ABOUT.match(line) is None):
            notes.stats.unknown_lines += 1
    notes.accounts.tables = found.account(SLAB_CACHE, BYTES, "objects in use")
    return notes


CRASH_SLAB = AccountSource("crash kmem -s", _recognises, _read)
