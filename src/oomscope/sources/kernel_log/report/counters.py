"""Mem-Info's counters in pages, one printk of several lines (mm/show_mem.c show_free_areas())."""

from __future__ import annotations

import re

from oomscope import bounds
from oomscope.sources.kernel_log.report.draft import Draft, ReportSection

_MEM_INFO = re.compile(rb"Mem-[Ii]nfo:")
_SYSRQ_SHOW = re.compile(rb"[Ss]ys[Rr]q ?: ?Show Memory")
COUNTERS = re.compile(
    rb"\s*(?:active_anon|active_file|unevictable|slab_reclaimable|mapped|sec_pagetables|bounce|kernel_misc_reclaimable|free"
    rb"|free_pcp|inactive_anon|inactive_file|isolated_anon|isolated_file|dirty|writeback|slab_unreclaimable|shmem"
    rb"|pagetables|free_cma|unstable|slab|Active|Active_anon|inactive):\d++(?:\s|$)"
)
# Not within a word: a search that may begin at each of its letters looks at all the others again.
_COUNTER = re.compile(rb"(?<![A-Za-z_])(?P<name>[A-Za-z_]{1,60}+):(?P<value>\d++)(?!\S)")


def is_title(text: bytes) -> bool:
    """Whether the counters are to follow: Mem-Info's own line, or SysRq-m's."""
    return _MEM_INFO.match(text) is not None or _SYSRQ_SHOW.match(text) is not None


class Counters(ReportSection):
    """`values` in pages by their printed names; `ends` are lines that end in one: their length, and its name."""

    __slots__ = ("ends", "values")
    first_bytes = b"abcdefghijklmnopqrstuvwxyzAMS"
    has_words = True

    def __init__(self, draft: Draft) -> None:
        super().__init__(draft)
        self.values: dict[str, int] = {}
        self.ends: list[tuple[int, str]] = []

    def take(self, text: bytes, number: int) -> bool:
        """See ReportSection."""
        if _MEM_INFO.match(text) is not None:
            self.draft.section = "mem-info"
            self.draft.at("Mem-Info", number, text)
            return True
        if _SYSRQ_SHOW.match(text) is not None:
            self.draft.remarks["sysrq"] = None
            return True
        if COUNTERS.match(text) is None:
            return False
        name = ""
        for match in _COUNTER.finditer(text):
            value = self.draft.number(match["value"], text)
            name = match["name"].decode().lower()  # `Active_anon:` in 2.6.28 to 2.6.31, `Active:` before
            if value is not None and name not in self.values and self.draft.has_room("counters", self.values):
                self.values[name] = value
                self.draft.is_counting = True
                self.draft.at(name, number, text)
        if name and len(self.ends) < bounds.EVENT_NAMES:
            self.ends.append((self.draft.length, name))
        return True
