"""What a failed request was allowed to do, from its gfp flags (include/linux/gfp.h, gfp_zone(); mm/page_alloc.c)."""

from __future__ import annotations

from oomscope.attribution.gfp import flags_in
from oomscope.model.oom_analysis import RequestFacts
from oomscope.model.oom_event import OomEvent

ZONE_ORDER = ("DMA", "DMA32", "Normal", "HighMem", "Movable", "Device")
# Kernels before 4.6 print no names. These bits kept their places from 2.6.24 on; the others did not.
_DMA, _HIGHMEM, _DMA32, _MOVABLE = 0x01, 0x02, 0x04, 0x08
_WAIT, _DIRECT_RECLAIM = 0x10, 0x400000  # __GFP_WAIT up to 4.3, __GFP_DIRECT_RECLAIM in 4.4 and 4.5
_HIGH = 0x20  # __GFP_HIGH, in all of them
# __zone_watermark_ok(): half of min for __GFP_HIGH, a quarter of that less for what may not wait.
_EIGHTHS_OF_ATOMIC = 3
_NO_DIRECT = frozenset({"GFP_ATOMIC", "GFP_NOWAIT"})


def zone_rank(name: str) -> int:
    """A zone's place in the kernel's order; one of no known name counts as Normal."""
    return ZONE_ORDER.index(name) if name in ZONE_ORDER else ZONE_ORDER.index("Normal")


def request_facts(event: OomEvent) -> RequestFacts:
    """What the event's request was and what it may do."""
    asked = event.asked
    order = -1 if "sysrq-f" in event.remarks else asked.order
    names = frozenset(asked.gfp_flags)
    flags = flags_in("|".join(asked.gfp_flags)) if names else frozenset()
    mask = asked.gfp_mask
    by_order = not names and bool(mask)
    is_user_fault = mask == 0 and not names
    if is_user_fault or mask is None:
        highest, movable, may_wait = (None, False, None)
    elif names:
        highest = _highest_by_names(flags | names)
        movable = "__GFP_MOVABLE" in flags or "GFP_HIGHUSER_MOVABLE" in names
        may_wait = bool(flags & {"__GFP_RECLAIM", "__GFP_DIRECT_RECLAIM"}) and not names <= _NO_DIRECT
    else:
        highest = _highest_by_bits(mask)
        movable = bool(mask & _MOVABLE)
        may_wait = bool(mask & (_WAIT | _DIRECT_RECLAIM))
    why_not = "" if may_wait is not False else f"{'|'.join(asked.gfp_flags) or hex(mask or 0)} may not wait"
    if (asked.comm or "").startswith("kswapd"):
        may_wait, why_not = False, "kswapd reclaims for all others and cannot wait for itself (PF_MEMALLOC)"
    return RequestFacts(
        order=order,
        pages=None if order is None or not 0 <= order < 40 else 1 << order,
        highest_zone=highest,
        is_movable=movable,
        may_wait=may_wait,
        why_not=why_not,
        by_order=by_order,
        min_eighths=_EIGHTHS_OF_ATOMIC if may_wait is False and _is_high(names, mask) else 8,
    )


def _is_high(names: frozenset[str], mask: int | None) -> bool:
    """Whether the request may go below `min`: __GFP_HIGH, which GFP_ATOMIC has."""
    return bool(names & {"GFP_ATOMIC", "__GFP_HIGH"}) if names else bool((mask or 0) & _HIGH)


def _highest_by_names(flags: frozenset[str]) -> str:
    if flags & {"GFP_DMA", "__GFP_DMA"}:
        return "DMA"
    if flags & {"GFP_DMA32", "__GFP_DMA32"}:
        return "DMA32"
    if "__GFP_HIGHMEM" in flags:
        return "Movable" if "__GFP_MOVABLE" in flags else "HighMem"
    return "Normal"


def _highest_by_bits(mask: int) -> str:
    if mask & _DMA:
        return "DMA"
    if mask & _DMA32:
        return "DMA32"
    if mask & _HIGHMEM:
        return "Movable" if mask & _MOVABLE else "HighMem"
    return "Normal"
