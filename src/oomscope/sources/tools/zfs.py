"""What ZFS keeps for itself: /proc/spl/kstat/zfs/arcstats, /proc/spl/kmem/slab, and what arc_summary makes of them."""

from __future__ import annotations

import re

from oomscope.model.account import BYTES, ZFS
from oomscope.model.reading import Notes
from oomscope.sources.base import AccountSource
from oomscope.sources.entries import Entries
from oomscope.sources.tools import amounts
from oomscope.text import Lines, printable

ARCSTAT = re.compile(rb"\s*(?P<name>[a-z][a-z0-9_]{1,60}) +4 +(?P<value>\d{1,20})\s*$")
# module/os/linux/spl/spl-kmem-cache.c slab_seq_show(): name flags size alloc slabsize objsize, then counts.
SLAB = re.compile(
    rb"\s*(?P<name>[\w.-]{2,60}) +0x[0-9a-f]{5,8} +(?P<size>\d{1,18}|-) +(?P<alloc>\d{1,18}|-) +\d{1,12} +\d{1,12} "
)
SUMMARY = re.compile(
    rb"\s*(?:(?P<name>SPL slab (?:allocated|used)|ARC size \(current\)): *(?:<? ?\d{1,3}\.\d *%\s+)?"
    rb"|(?P<other>Current Size|ARC size): *(?:<? ?\d{1,3}\.\d{1,2} *%\s+(?:\(c\)\s+)?))"
    rb"(?P<size>[\d,]{1,12}(?:\.\d{1,3})?)\s?(?P<unit>[KMGT])i?B"
)
ABOUT = re.compile(rb"\s*(?:\d{1,3} 1 0x|name +type +data|-{5,}|name +flags|SPL |ARC )")
_ARC, _SPL = "ARC", "slab of the SPL"


def _recognises(head: bytes) -> bool:
    """`name type data` behind kstat's own line; the title of the table of slabs."""
    return re.match(rb"\d{1,3} 1 0x\d\d .{0,80}\nname +type +data|-{5,} cache -{5,}", head) is not None


def _read(rows: Lines) -> Notes:
    """`notes.accounts.tables` has the ARC, and the slabs that are ZFS' own."""
    notes = Notes()
    found = Entries(notes)
    seen: set[str] = set()
    arcstats: dict[bytes, int] = {}
    for line in rows:
        text = line or b""
        if (match := ARCSTAT.match(text)) is not None:
            arcstats.setdefault(match["name"], int(match["value"]))
        elif (match := SLAB.match(text)) is not None:
            if match["size"] != b"-":
                found.add(printable(match["name"]), int(match["size"]), 1)
        elif (match := SUMMARY.match(text)) is not None:
            told = match["name"] or match["other"]
            name = _SPL if told.startswith(b"SPL") else _ARC
            if told.endswith(b"used"):
                continue  # a part of what is allocated
            size = amounts.kib(match["size"].replace(b",", b"") + match["unit"])
            if name not in seen and size is not None:
                seen.add(name)
                found.add(name, round(size * 1024), 1)
        elif line is None or (text.strip() and ABOUT.match(text) is None):
            notes.stats.unknown_lines += 1
    # Anything may be called `size`: beside it stand the names of arcstats.
    if _ARC not in seen and b"size" in arcstats and not arcstats.keys().isdisjoint((b"c_max", b"hits", b"mru_hits")):
        found.add(_ARC, arcstats[b"size"], 1)
    notes.accounts.tables = found.account(ZFS, BYTES, "parts")
    return notes


ZFS_KSTAT = AccountSource("ZFS kstat", _recognises, _read)
