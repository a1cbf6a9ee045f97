"""`numastat -m` (numactl): /proc/meminfo of each node side by side, in MB, and the sum of all as the last column."""

from __future__ import annotations

import re

from oomscope import bounds
from oomscope.model.reading import Meminfo, Notes
from oomscope.sources.base import AccountSource
from oomscope.sources.tools import amounts
from oomscope.text import Lines

HEADER = re.compile(rb"\A *+Node 0(?: +Node \d{1,5})*+ +Total\s*$")
ROW = re.compile(
    rb" *+(?P<name>[A-Z][A-Za-z0-9_]{2,40}(?:\((?:anon|file)\))?) +(?:\d{1,12}(?:\.\d{1,2})? +){1,64}"
    rb"(?P<total>\d{1,12}(?:\.\d{1,2})?)\s*$"
)
RULE = re.compile(rb"\A[ -]{6,}+$|\AToken .{1,40} not in hash table")
# By what /proc/meminfo calls it; huge pages are in MB here, and counted there.
_NAMES = {"FilePages": "Cached", "HugePages_Total": "Hugetlb"}
_LEFT_OUT = ("HugePages_Free", "HugePages_Surp")


def _recognises(head: bytes) -> bool:
    """`Per-node system memory usage` above the nodes."""
    return head.startswith(b"Per-node system memory usage") and b"MemTotal" in head


def _read(rows: Lines) -> Notes:
    """`notes.accounts.meminfo` has the sums over all nodes."""
    notes = Notes()
    kib: dict[str, int] = {}
    for line in rows:
        match = None if line is None else ROW.match(line)
        if match is None:
            notes.stats.unknown_lines += line is None or bool(line.strip())
            continue
        name = match["name"].decode()
        if name not in _LEFT_OUT and len(kib) < bounds.EVENT_NAMES:
            kib.setdefault(_NAMES.get(name, name), round(float(match["total"]) * 1024))
    # A node's FilePages hold its buffers, too.
    kib.setdefault("Buffers", 0)
    if 0 < kib.get("MemTotal", 0) <= bounds.PAGES * 4:
        notes.accounts.meminfo = Meminfo(kib["MemTotal"] * 1024, amounts.bytes_of(kib.get("MemFree")), None, kib)
    return notes


NUMASTAT = AccountSource("numastat", _recognises, _read)
