"""The kernel's counters: the sums of mm/vmstat.c with what each processor has not added to them yet."""

from __future__ import annotations

from array import array

from oomscope.crash_reader.errors import Unread
from oomscope.crash_reader.memory import Memory
from oomscope.crash_reader.plan import CrashPlan

_MOST_COUNTERS = 256


def vmstat(memory: Memory, plan: CrashPlan) -> dict[str, int]:
    """Counters by the names of enum zone_stat_item and enum node_stat_item, without the processors' own differences.

    What cannot be read is left out.
    """
    found: dict[str, int] = {}
    for symbol, names in plan.counters.items():
        try:
            raw = memory.bytes_at(plan.at(symbol), 8 * min(len(names), _MOST_COUNTERS))
        except Unread:
            continue
        found.update(zip(names, array("q", raw), strict=False))
    found.pop("", None)
    return found


def ram_pages(memory: Memory, plan: CrashPlan) -> int | None:
    """Managed pages of all zones; None where the kernel does not tell."""
    try:
        return memory.word_at(plan.at("_totalram_pages"))
    except Unread:
        return None
