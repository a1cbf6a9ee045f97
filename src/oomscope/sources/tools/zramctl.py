"""`zramctl` (util-linux): each compressed disk, what is stored in it and what it takes."""

from __future__ import annotations

import re

from oomscope.model.account import BYTES, ZRAM_DISK
from oomscope.model.reading import Notes
from oomscope.sources.base import AccountSource
from oomscope.sources.entries import Entries
from oomscope.sources.tools import amounts
from oomscope.text import Lines, printable

HEADER = re.compile(rb" *+NAME +ALGORITHM +DISKSIZE +DATA +COMPR +TOTAL\b")
_SIZE = rb"\d{1,15}(?:[.,]\d{1,3})?[BKMGT]?"
ROW = re.compile(
    rb" *+/?(?:dev/)?(?P<name>zram\d{1,4}) +\S{1,20} +%(size)s +(?P<data>%(size)s) +(?P<compressed>%(size)s) +"
    rb"(?P<total>%(size)s)(?: |\s*$)" % {b"size": _SIZE}
)


def _recognises(head: bytes) -> bool:
    """The header at the very beginning."""
    return HEADER.match(head[:4096].lstrip(b"\r\n")) is not None


def _read(rows: Lines) -> Notes:
    """`notes.accounts.tables` has the disks by the memory they take."""
    notes = Notes()
    found = Entries(notes)
    for line in rows:
        match = None if line is None else ROW.match(line)
        if match is not None:
            taken = round((amounts.kib(match["total"], 1 / 1024) or 0) * 1024)
            place = f"{printable(match['data'])} stored, {printable(match['compressed'])} compressed"
            found.add(printable(match["name"]), taken, 1, None, place)
        elif line is None or (line.strip() and HEADER.match(line) is None):
            notes.stats.unknown_lines += 1
    notes.accounts.tables = found.account(ZRAM_DISK, BYTES, "disks")
    return notes


ZRAMCTL = AccountSource("zramctl", _recognises, _read)
