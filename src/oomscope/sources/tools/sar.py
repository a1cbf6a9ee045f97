"""`sar -r` (sysstat): a few figures of /proc/meminfo, a row for each time. The row with least memory free is used."""

from __future__ import annotations

import re

from oomscope import bounds
from oomscope.model.reading import Meminfo, Notes
from oomscope.sources.base import AccountSource
from oomscope.text import Lines

HEADER = re.compile(rb" *+(?:\d\d:\d\d:\d\d(?: [AP]M)? +)?kbmemfree +(?:kbavail +)?kbmemused +%memused +")
ROW = re.compile(rb" *+(?:\d\d:\d\d:\d\d(?: [AP]M)?|Average:) +\d{1,15}(?: +\d{1,15}(?:[.,]\d{1,3})?){5,20}\s*$")
_UNTOLD = 1.25  # slab is cached, too, and stands in its column with -r ALL only
_NAMES = {
    b"kbmemfree": "MemFree",
    b"kbavail": "MemAvailable",
    b"kbbuffers": "Buffers",
    b"kbcached": "Cached",
    b"kbanonpg": "AnonPages",
    b"kbslab": "Slab",
    b"kbkstack": "KernelStack",
    b"kbpgtbl": "PageTables",
}


def _recognises(head: bytes) -> bool:
    """The header, at the beginning or behind the line that names the host."""
    return any(HEADER.match(line) is not None for line in head[:4096].lstrip(b"\r\n").split(b"\n", 4)[:3])


def _read(rows: Lines) -> Notes:
    """`notes.accounts.meminfo` has the figures of the time at which least was free."""
    notes = Notes()
    columns: list[bytes] = []
    worst: dict[bytes, int] = {}
    percent = 0.0
    for line in rows:
        if line is not None and HEADER.match(line) is not None:
            columns = line[line.index(b"kbmemfree") :].split()
            continue
        if line is None or ROW.match(line) is None:
            notes.stats.unknown_lines += line is None or bool(line.strip())
            continue
        words = line.split()[-len(columns) :] if columns else []
        told = {name: int(word) for name, word in zip(columns, words, strict=False) if word.isdigit()}
        if not told or line.lstrip().startswith(b"Average"):
            continue
        if not worst or _least(told) <= _least(worst):
            worst = told
            percent = float(dict(zip(columns, words, strict=False)).get(b"%memused", b"0").replace(b",", b"."))
    if b"kbmemfree" in worst and b"kbmemused" in worst:
        kib = {name: worst[column] for column, name in _NAMES.items() if column in worst}
        # From 11.7 on "used" leaves out what is cached; its share of all does not.
        used = worst[b"kbmemused"]
        least = worst[b"kbmemfree"] + used
        most = least + sum(worst.get(name, 0) for name in (b"kbbuffers", b"kbcached", b"kbslab"))
        by_share = round(used * 100 / percent) if percent else 0
        kib["MemTotal"] = by_share if least < by_share <= _UNTOLD * most else least
        if kib["MemTotal"] <= bounds.PAGES * 4:
            notes.accounts.meminfo = Meminfo(kib["MemTotal"] * 1024, kib["MemFree"] * 1024, None, kib)
    return notes


def _least(told: dict[bytes, int]) -> int:
    return told.get(b"kbavail", told.get(b"kbmemfree", 0) + told.get(b"kbcached", 0))


SAR = AccountSource("sar -r", _recognises, _read)
