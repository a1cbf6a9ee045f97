"""`slabtop -o` (procps): /proc/slabinfo with the size of each cache."""

from __future__ import annotations

import re

from oomscope.model.account import BYTES, SLAB_CACHE
from oomscope.model.reading import Notes
from oomscope.sources.base import AccountSource
from oomscope.sources.entries import Entries
from oomscope.sources.tools import amounts
from oomscope.text import Lines, printable

HEADER = re.compile(rb" *+OBJS +ACTIVE +USE +OBJ SIZE +SLABS +OBJ/SLAB +CACHE SIZE +NAME\s*$")
SUMMARY = re.compile(rb" *+(?:Active / Total (?:Objects|Slabs|Caches|Size)|Minimum / Average / Maximum Object) ")
# With --human sizes have units of their own.
ROW = re.compile(
    rb" *+\d{1,15} +(?P<active>\d{1,15}) +\d{1,3}% +\d{1,9}(?:[.,]\d{1,2})?(?:[KM]i?|B)? +\d{1,15} +\d{1,9} +"
    rb"(?P<size>\d{1,15}(?:[.,]\d{1,2})?(?:[KMGT]i?|B)) +(?P<name>\S(?:\S| (?=\S)){0,80})\s*$"
)


def _recognises(head: bytes) -> bool:
    """The summary or the table's header at the very beginning."""
    beginning = head.lstrip(b"\r\n")
    return SUMMARY.match(beginning) is not None or HEADER.match(beginning.partition(b"\n")[0].rstrip(b"\r")) is not None


def _read(rows: Lines) -> Notes:
    """`notes.accounts.tables` has the caches, in bytes, and their objects in use."""
    notes = Notes()
    found = Entries(notes)
    for line in rows:
        match = None if line is None else ROW.match(line)
        if match is not None:
            found.is_begun_anew(name := printable(match["name"]))
            found.add(name, round((amounts.kib(match["size"]) or 0) * 1024), int(match["active"]))
        elif line is None or (line.strip() and HEADER.match(line) is None and SUMMARY.match(line) is None):
            notes.stats.unknown_lines += 1
    notes.accounts.tables = found.account(SLAB_CACHE, BYTES, "objects in use")
    return notes


SLABTOP = AccountSource("slabtop", _recognises, _read)
