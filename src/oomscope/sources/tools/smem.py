"""`smem -w`: RAM in four parts, each with what of it is page cache. What `smem` alone lists, processes.py reads."""

from __future__ import annotations

import re

from oomscope.model.account import BYTES, CACHED_RAM, FREE_RAM, KERNEL_RAM, PART_OF_RAM, USER_RAM
from oomscope.model.reading import Notes
from oomscope.sources.base import AccountSource
from oomscope.sources.entries import Entries
from oomscope.sources.tools import amounts
from oomscope.text import Lines, printable

_SIZE = rb"\d{1,15}(?:\.\d{1,3})?[KMGT]?"
HEADER = re.compile(rb" *+Area +Used +Cache +Noncache\s*$")
ROW = re.compile(
    rb" *+(?P<area>firmware/hardware|kernel image|kernel dynamic memory|userspace memory|free memory) +"
    rb"(?P<used>" + _SIZE + rb") +(?P<cache>" + _SIZE + rb") +(?P<noncache>" + _SIZE + rb")\s*$"
)
_PARTS = {
    b"firmware/hardware": "firmware and devices",
    b"kernel image": "the kernel's image",
    b"kernel dynamic memory": KERNEL_RAM,
    b"userspace memory": USER_RAM,
}


def _recognises(head: bytes) -> bool:
    """The header at the very beginning."""
    return HEADER.match(head[:4096].lstrip(b"\r\n").partition(b"\n")[0]) is not None


def _read(rows: Lines) -> Notes:
    """`notes.accounts.tables` has the parts in bytes; page cache of all of them is one."""
    notes = Notes()
    found = Entries(notes)
    cache = 0
    for line in rows:
        match = ROW.match(line or b"")
        if match is None:
            notes.stats.unknown_lines += line is None or bool(line.strip() and HEADER.match(line) is None)
            continue
        if found.is_begun_anew(printable(match["area"])):
            cache = 0
        used, cached, rest = (round((amounts.kib(match[n]) or 0) * 1024) for n in ("used", "cache", "noncache"))
        if match["area"] == b"free memory":
            found.add(FREE_RAM, used, 1)
        else:
            cache += cached
            found.add(_PARTS[match["area"]], rest, 1)
    found.add(CACHED_RAM, cache, 1)
    notes.accounts.tables = found.account(PART_OF_RAM, BYTES, "parts")
    return notes


SMEM = AccountSource("smem -w", _recognises, _read)
