"""/proc/meminfo: how much RAM there is (fs/proc/meminfo.c)."""

from __future__ import annotations

import re

from oomscope import bounds
from oomscope.model.account import BYTES, CMA_POOL, COUNTER, HUGE_PAGES, Account, Entry, account
from oomscope.model.reading import Meminfo, Notes
from oomscope.model.unknown import Unknown
from oomscope.sources.base import AccountSource
from oomscope.text import Lines
from oomscope.units import bytes_text

_LINE = re.compile(rb"(?P<name>[A-Za-z0-9_()]{1,60}):\s++(?P<kib>\d{1,15}) kB\s*+")

_HUGE_PAGES = re.compile(rb"HugePages_(?P<what>Total|Free|Rsvd|Surp):\s++(?P<count>\d{1,12})\s*+")


_PARTS_OF_SLAB = (b"SReclaimable", b"SUnreclaim")
# Of all lines, those that count memory that somebody has, none of it twice.
_HOLD_MEMORY = (
    *(b"AnonPages", b"Cached", b"Buffers", b"Shmem", b"Slab", *_PARTS_OF_SLAB, b"KernelStack"),
    *(b"PageTables", b"SecPageTables", b"VmallocUsed", b"Percpu", b"Hugetlb", b"Zswap", b"Bounce"),
)
_BEGINNING = re.compile(rb"\s*+MemTotal:\s++\d++ kB\r?\nMemFree:\s++\d++ kB")


def _recognises(head: bytes) -> bool:
    """`MemTotal:` and `MemFree:` in kB, at the beginning of the input."""
    return _BEGINNING.match(head) is not None


def _read(rows: Lines) -> Notes:
    """`notes.accounts.meminfo` has the figures."""
    notes = Notes()
    kib: dict[bytes, int] = {}
    pool: dict[bytes, int] = {}
    for line in rows:
        match = _LINE.fullmatch(line or b"")
        if match is not None:
            if match["name"] == b"MemTotal" and b"MemTotal" in kib:
                kib, pool = {}, {}  # another moment, or another machine: the last counts
                notes.absent = (Unknown("an earlier /proc/meminfo in this file", "the one that follows is used"),)
            if len(kib) < bounds.EVENT_NAMES:
                kib.setdefault(match["name"], int(match["kib"]))
            else:
                notes.stats.leave_out("counters")
        elif told := _HUGE_PAGES.fullmatch(line or b""):
            pool.setdefault(told["what"], int(told["count"]))
        elif line is None or line.strip():
            notes.stats.unknown_lines += 1
    # All pools together from 4.19 on, else the one of the default size.
    kib.setdefault(b"Hugetlb", pool.get(b"Total", 0) * kib.get(b"Hugepagesize", 0))
    notes.accounts.tables = _of_pool(pool, kib.get(b"Hugepagesize", 0) * 1024)
    if 0 < kib.get(b"MemTotal", 0) <= bounds.PAGES * 4:
        notes.accounts.meminfo = Meminfo(
            total_bytes=kib[b"MemTotal"] * 1024,
            free_bytes=_bytes(kib.get(b"MemFree")),
            hugepage_bytes=_bytes(kib.get(b"Hugepagesize")),
            kib={name.decode(): size for name, size in kib.items()},
        )
    elif b"MemTotal" not in kib:
        notes.accounts.tables += (*_of_counters(kib), *_of_cma(kib))
    return notes


def _of_cma(kib: dict[bytes, int]) -> tuple[Account, ...]:
    """What of the pools of contiguous memory is in use, where both lines are there."""
    total, free = kib.get(b"CmaTotal", 0) * 1024, kib.get(b"CmaFree")
    if free is None or not free * 1024 <= total <= bounds.ROW_BYTES:
        return ()
    used = total - free * 1024
    return account(CMA_POOL, BYTES, "pools", [Entry("all pools", used, 1, None, f"of {bytes_text(total)}")])


def _of_counters(kib: dict[bytes, int]) -> tuple[Account, ...]:
    """Lines of the file without its first: those that hold memory, and are no part of another that is there."""
    parts = (*(_PARTS_OF_SLAB if b"Slab" in kib else ()), *((b"Shmem",) if b"Cached" in kib else ()))
    held = [name for name in _HOLD_MEMORY if name in kib and name not in parts and kib[name] * 1024 <= bounds.ROW_BYTES]
    return account(COUNTER, BYTES, "lines", [Entry(name.decode(), kib[name] * 1024, 1) for name in held])


def _of_pool(pool: dict[bytes, int], each_bytes: int) -> tuple[Account, ...]:
    """The pool of the default size: what is in use, what is promised, and what nobody uses."""
    free, reserved = pool.get(b"Free", 0), pool.get(b"Rsvd", 0)
    counts = {
        "in use": pool.get(b"Total", 0) - free,
        "promised to a mapping, not touched yet": min(reserved, free),
        "free, of use to nobody else": max(free - reserved, 0),
    }
    if max(pool.get(b"Total", 0), free) * each_bytes > bounds.ROW_BYTES:
        return ()
    entries = [Entry(name, count * each_bytes, count) for name, count in counts.items() if count > 0]
    return account(HUGE_PAGES, BYTES, "huge pages", entries)


MEMINFO = AccountSource("meminfo", _recognises, _read)


def _bytes(kib: int | None) -> int | None:
    return None if kib is None else kib * 1024
