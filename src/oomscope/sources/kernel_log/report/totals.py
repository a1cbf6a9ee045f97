"""Huge pages, swap, and how much RAM there is: the last lines of Mem-Info (mm/show_mem.c, mm/hugetlb.c)."""

from __future__ import annotations

import re

from oomscope import bounds
from oomscope.model.oom_event import HugePages
from oomscope.sources.kernel_log.report.draft import Draft, ReportSection

HUGE = re.compile(
    rb"(?:Node (?P<node>\d{1,4}) )?hugepages_total=(?P<total>\d{1,15}) hugepages_free=(?P<free>\d{1,15}) "
    rb"hugepages_surp=(?P<surplus>\d{1,15}) hugepages_size=(?P<size>\d{1,12})kB"
)
_TOTALS: tuple[tuple[str, re.Pattern[bytes]], ...] = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        ("pagecache pages", rb"(?P<value>\d{1,18}) total pagecache pages"),
        ("swap cache pages", rb"(?P<value>\d{1,18}) pages in swap cache"),
        ("free swap kib", rb"Free swap *= *(?P<value>\d{1,18}) ?kB"),
        ("total swap kib", rb"Total swap *= *(?P<value>\d{1,18}) ?kB"),
        ("pages RAM", rb"(?P<value>\d{1,18}) pages (?:of )?RAM"),
        ("pages HighMem/MovableOnly", rb"(?P<value>\d{1,18}) pages (?:of )?(?:HighMem/MovableOnly|HIGHMEM|HighMem)"),
        ("pages reserved", rb"(?P<value>\d{1,18}) (?:pages reserved|reserved pages)"),
        ("pages cma reserved", rb"(?P<value>\d{1,18}) pages cma reserved"),
        ("pages hwpoisoned", rb"(?P<value>\d{1,18}) pages hwpoisoned"),
        # mm/memcontrol.c mem_cgroup_show_protected_memory(), 6.19 and later; the low one stands on the same line.
        ("Memory cgroup min protection", rb"Memory cgroup min protection (?P<value>\d{1,18})kB"),
        ("pages shared", rb"(?P<value>\d{1,18}) pages shared"),
        ("pages non-shared", rb"(?P<value>\d{1,18}) pages non-shared"),
        # 2.6.24 and before print again here what the counters have (mm/memory.c show_mem()).
        ("pages slab", rb"(?P<value>\d{1,18}) pages slab"),
        ("pages pagetables", rb"(?P<value>\d{1,18}) pages pagetables"),
        ("pages mapped", rb"(?P<value>\d{1,18}) pages mapped"),
        ("pages dirty", rb"(?P<value>\d{1,18}) pages (?:dirty|writeback)"),
        ("swap cache pages", rb"(?P<value>\d{1,18}) pages swap cached"),
    )
)
_IN_TOTALS = re.compile(rb"pages|swap|protection")
# Of these lines, what stands nowhere but in a report's tail: where its beginning is lost, they begin it.
OF_A_TAIL = re.compile(
    rb"\d{1,18} (?:total pagecache pages|pages (?:of )?RAM\s*$|(?:pages reserved|reserved pages)\s*$)"
)


class Totals(ReportSection):
    """`values` by name; pools of huge pages by node and size."""

    __slots__ = ("pools", "values")
    first_bytes = b"0123456789NhFTM"

    def __init__(self, draft: Draft) -> None:
        super().__init__(draft)
        self.values: dict[str, int] = {}
        self.pools: dict[tuple[int | None, int], HugePages] = {}

    def take(self, text: bytes, number: int) -> bool:
        """See ReportSection."""
        match = HUGE.match(text)
        if match is not None:
            node = None if match["node"] is None else int(match["node"])
            pool = HugePages(node, int(match["total"]), int(match["free"]), int(match["size"]), number)
            key = (node, pool.size_kib)
            if key not in self.pools and self.draft.has_room("huge page pools", self.pools, bounds.ZONES):
                self.pools[key] = pool
                self.draft.at(f"hugepages of {pool.size_kib}kB", number, text)
            return True
        for name, pattern in _TOTALS if _IN_TOTALS.search(text) is not None else ():
            match = pattern.match(text)
            if match is not None:
                value = self.draft.number(match["value"], text)
                if value is not None and name not in self.values:
                    self.values[name] = value
                    self.draft.at(name, number, text)
                return True
        return False
