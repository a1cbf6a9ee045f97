"""In what blocks free memory lies, by /proc/pagetypeinfo and /proc/buddyinfo."""

from __future__ import annotations

from oomscope.model.unknown import Unknown
from oomscope.model.verdict import CERTAIN, POSSIBLE, Finding
from oomscope.units import AT_ONE_MOMENT, pages_text, share_text
from oomscope.verdict.rules.case import RuleCase

_MUCH = 0.05  # of RAM
# PAGE_ALLOC_COSTLY_ORDER (include/linux/mmzone.h): requests up to it are worth an OOM kill.
_COSTLY_ORDER = 3


def rule(case: RuleCase) -> tuple[Finding, ...]:
    """Claims that no block for a request of order 3 is there, although much is free; alone, how large blocks are."""
    zones = next((r.notes.accounts.free_blocks for r in case.evidence.readings if r.notes.accounts.free_blocks), ())
    ram_pages = case.evidence.ram_pages
    free_pages = sum(zone.pages for zone in zones)
    largest = max((zone.largest_order or 0 for zone in zones), default=0)
    if not zones:
        return ()
    share = None if isinstance(ram_pages, Unknown) else free_pages / ram_pages
    free = f"{pages_text(free_pages)} are free" + ("" if share is None else f", {share_text(share)} of RAM")
    if largest < _COSTLY_ORDER and (share is None or share > _MUCH):
        claim = f"{free}, and none of them in a block of order {_COSTLY_ORDER}: the largest is of order {largest}"
        then = "find who holds single pages all over memory: page_owner's Unmovable records, by pages"
    elif case.is_of_accounts:
        claim, then = f"{free}; the largest block is of order {largest}", "hold it against the order of what failed"
    else:
        return ()
    return (
        Finding(
            claim=claim,
            pages=free_pages,
            certainty=CERTAIN if share is None or share <= AT_ONE_MOMENT else POSSIBLE,
            because=("the free blocks of every zone and order",),
            refuted_by="compaction: echo 1 > /proc/sys/vm/compact_memory, and read the file again",
            next=then,
        ),
    )
