"""/sys/kernel/debug/cma/POOL (mm/cma_debug.c): how large a pool is, what of it is in use, its greatest free block."""

from __future__ import annotations

import re

from oomscope import bounds
from oomscope.model.account import CMA_POOL, PAGES, Entry, account
from oomscope.model.reading import Notes
from oomscope.sources.base import AccountSource
from oomscope.text import Lines, printable

# As `grep .` of several files prints them.
ROW = re.compile(
    rb"(?:.{0,80}?cma/)?(?:cma-)?(?P<pool>[\w,@:.-]{1,60}?)/(?P<what>count|used|maxchunk|base_pfn|order_per_bit): ?"
    rb"(?P<value>\d{1,15})\s*$"
)


def _recognises(head: bytes) -> bool:
    """A figure of a pool at the very beginning."""
    return ROW.match(head[:4096].lstrip(b"\r\n").partition(b"\n")[0].rstrip(b"\r")) is not None


def _read(rows: Lines) -> Notes:
    """`notes.accounts.tables` has the pools, in pages in use."""
    notes = Notes()
    pools: dict[str, dict[bytes, int]] = {}
    for line in rows:
        match = ROW.match(line or b"")
        if match is None or len(pools) >= bounds.NAMES:
            notes.stats.unknown_lines += line is None or bool(line.strip())
            continue
        pools.setdefault(printable(match["pool"]), {})[match["what"]] = int(match["value"])
    entries = []
    for name, told in pools.items():
        count, used = told.get(b"count"), told.get(b"used")
        if count is None or used is None or not used <= count <= bounds.PAGES:
            notes.stats.corrupt_records += 1
            continue
        free = f", greatest free block {told[b'maxchunk']:,}" if b"maxchunk" in told else ""
        entries.append(Entry(name, used, count, None, f"of {count:,} pages{free}"))
    notes.accounts.tables = account(CMA_POOL, PAGES, "pages of the pool", entries)
    return notes


CMA = AccountSource("CMA pools", _recognises, _read)
