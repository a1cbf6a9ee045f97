"""`ps_mem`: programs by what they have in RAM, shared memory counted once."""

from __future__ import annotations

import re

from oomscope.model.account import BYTES, PROCESS
from oomscope.model.reading import Notes
from oomscope.sources.base import AccountSource
from oomscope.sources.entries import Entries
from oomscope.sources.tools import amounts
from oomscope.text import Lines, printable

HEADER = re.compile(rb"\s*Private +\+ +Shared += +RAM used\s+(?:Swap used\s+)?Program")
ROW = re.compile(
    rb"\s*\d{1,5}\.\d (?:[KMGT]i?B|B) +\+ +\d{1,5}\.\d (?:[KMGT]i?B|B) += +(?P<size>\d{1,5}\.\d [KMGT]?)i?B\s++"
    rb"(?:\d{1,5}\.\d (?:[KMGT]i?B|B)\s++)?(?P<name>[^\s(].{0,80}?)(?: \((?P<count>\d{1,6})\))?\s{0,80}+$"
)
_SUM = re.compile(rb"\s*(?:-{10,}|={10,}|\d{1,5}\.\d [KMGT]?i?B\s*$)")


def _recognises(head: bytes) -> bool:
    """The header at the very beginning."""
    return HEADER.match(head[:4096]) is not None


def _read(rows: Lines) -> Notes:
    """`notes.accounts.tables` has the programs, in bytes."""
    notes = Notes()
    found = Entries(notes)
    for line in rows:
        match = None if line is None else ROW.match(line)
        if match is not None:
            size = round((amounts.kib(match["size"].replace(b" ", b"")) or 0) * 1024)
            found.add(printable(match["name"]), size, int(match["count"] or 1))
        elif line is None or (line.strip() and HEADER.match(line) is None and _SUM.match(line) is None):
            notes.stats.unknown_lines += 1
    notes.accounts.tables = found.account(PROCESS, BYTES, "processes")
    return notes


PS_MEM = AccountSource("ps_mem", _recognises, _read)
