"""memory.stat, memory.current and the other files of one memory cgroup, of version 1 and 2 (mm/memcontrol.c)."""

from __future__ import annotations

import re

from oomscope import bounds
from oomscope.model.oom_event import Memcg
from oomscope.model.reading import Notes
from oomscope.sources.base import AccountSource
from oomscope.sources.cgroupfs.figures import LIMITS, UNLIMITED, USED
from oomscope.sources.kernel_log.report.memcg import is_count
from oomscope.sources.tools import amounts
from oomscope.text import Lines

# Names that stand in memory.stat alone: those of version 2, and, behind them, of version 1.
ROW = re.compile(
    rb"(?P<name>(?:total_)?(?:anon|file|kernel|kernel_stack|pagetables|sec_pagetables|percpu|sock|vmalloc|shmem|zswap(?:ped)?"
    rb"|file_(?:mapped|dirty|writeback|thp)|swapcached|anon_thp|shmem_thp|(?:in)?active_(?:anon|file)|unevictable"
    rb"|slab(?:_(?:un)?reclaimable)?|cache|rss(?:_huge)?|mapped_file|swap|dirty|writeback|hierarchical_(?:memory|memsw)_limit"
    rb"|workingset_\w{2,30}|pg\w{2,20}|thp_\w{2,30}))(?: |=)(?P<value>\d{1,20})\s*$"
)
# As people write it down: `slab_reclaimable:  192 MB   <- the growth`.
EDITED = re.compile(
    rb"\s*(?P<name>anon|file|kernel_stack|pagetables|percpu|sock|shmem|file_mapped|file_dirty|slab(?:_(?:un)?reclaimable)?"
    rb"|cache|rss|swap|kernel|memory\.(?:current|max)): +(?P<number>\d{1,9}(?:\.\d{1,3})?) ?"
    rb"(?P<unit>[KMGT])i?B\b.{0,200}$"
)
NAMED = re.compile(
    rb"(?P<name>memory\.(?:current|max|peak|high|limit_in_bytes|usage_in_bytes|max_usage_in_bytes|kmem\.usage_in_bytes"
    rb"|failcnt)):? ?"
    rb"(?P<value>\d{1,20}|max)\s*$"
)
_OWN = frozenset({"shmem", "percpu", "pgfault", "pagetables", "zswap", "pgpgin", "slab"})


def _recognises(head: bytes) -> bool:
    """`anon N` and `file N` of version 2, `cache N` and `rss N` of version 1, at the very beginning."""
    return re.match(rb"(?:anon \d+\nfile \d+\n|cache \d+\nrss \d+\n)", head) is not None


def _read(rows: Lines) -> Notes:
    """`notes.accounts.memcg` has the group as far as it is told."""
    notes = Notes()
    stat: dict[str, int] = {}
    counts: dict[str, int] = {}
    figures: dict[str, int] = {}
    for line in rows:
        match = ROW.match(line or b"")
        if match is not None and len(stat) + len(counts) < bounds.EVENT_NAMES:
            name = match["name"].decode()
            (counts if is_count(name.removeprefix("total_")) else stat).setdefault(name, int(match["value"]))
        elif (named := NAMED.match(line or b"")) is not None:
            if named["value"] != b"max":
                figures.setdefault(named["name"].decode(), int(named["value"]))
        elif (told := EDITED.match(line or b"")) is not None:
            size_bytes = round((amounts.kib(told["number"] + told["unit"]) or 0) * 1024)
            (figures if told["name"].startswith(b"memory.") else stat).setdefault(told["name"].decode(), size_bytes)
        else:
            notes.stats.unknown_lines += line is None or bool(line.strip())
    parts = ("slab_reclaimable", "slab_unreclaimable")
    if "slab" not in stat and any(part in stat for part in parts):
        stat["slab"] = sum(stat.get(part, 0) for part in parts)
    # Version 1 has the group's own numbers, and with `total_` those of all groups below it, too.
    whole = {name.removeprefix("total_"): value for name, value in stat.items() if name.startswith("total_")}
    used = next((figures[name] for name in USED if name in figures), None)
    limit = next((figures[name] for name in LIMITS if name in figures), None)
    limit = stat.get("hierarchical_memory_limit") if limit is None else limit
    stat = {name: value for name, value in stat.items() if value <= bounds.ROW_BYTES}
    # `anon 3` and `cache 9` may be anybody's words: one name that is the kernel's own stands beside them.
    is_told = any("_" in name or name in _OWN for name in (*stat, *counts))
    if (stat and is_told) or used is not None:
        notes.accounts.memcg = Memcg(
            path=None,
            reached="memory",
            usage_kib=None if used is None else used // 1024,
            limit_kib=None if limit is None or limit >= UNLIMITED else limit // 1024,
            failcnt=figures.get("memory.failcnt"),
            stat=whole or stat,
            counts=counts,
            is_v1="rss" in stat or "total_rss" in stat,
        )
    return notes


MEMORY_STAT = AccountSource("memory.stat", _recognises, _read)
