"""What a failed request was allowed to do, from its gfp flags (include/linux/gfp.h, gfp_zone(); mm/page_alloc.c)."""

from __future__ import annotations

import re

from oomscope.attribution import gfp
from oomscope.model.oom_analysis import RequestFacts
from oomscope.model.oom_event import VMALLOC_FAILURE, OomEvent

ZONE_ORDER = ("DMA", "DMA32", "Normal", "HighMem", "Movable", "Device")
_RELEASE = re.compile(r"(?P<major>\d{1,2})\.(?P<minor>\d{1,3})(?:\.(?P<patch>\d{1,4}))?(?:-(?P<debian>\d{1,3})-)?")
# ALLOC_HARDER gave way to ALLOC_NON_BLOCK and ALLOC_MIN_RESERVE in 6.3; 6.1 took that over in an update, and kept
# __GFP_ATOMIC. Debian counts its own updates: 6.1.0-28 is 6.1.119.
_WITHOUT_HARDER = (6, 3)
_ATOMIC = frozenset(("GFP_ATOMIC", "__GFP_ATOMIC"))
_UPDATED, _UPDATE, _UPDATE_OF_DEBIAN = (6, 1), 116, 28


def zone_rank(name: str) -> int:
    """A zone's place in the kernel's order; one of no known name counts as Normal."""
    return ZONE_ORDER.index(name) if name in ZONE_ORDER else ZONE_ORDER.index("Normal")


def request_facts(event: OomEvent) -> RequestFacts:
    """What the event's request was and what it may do."""
    asked = event.asked
    order = -1 if "sysrq-f" in event.remarks else asked.order
    if order is None and event.kind == VMALLOC_FAILURE:
        order = 0  # vmalloc asks page by page, or falls back to that
    mask = asked.gfp_mask
    has_names = bool(asked.gfp_flags)
    names = asked.gfp_flags or gfp.names_of(mask or 0)
    flags = gfp.flags_in("|".join(names)) if names else frozenset()
    highest, zone_from = None, ""
    movable, may_wait = False, None
    if names:
        highest = _highest(flags)
        movable = "__GFP_MOVABLE" in flags
        may_wait = "__GFP_DIRECT_RECLAIM" in flags
    elif mask is None and (last := _last_shown(event)) is not None:
        highest, zone_from = last, "the last zone that the report shows (kernels from 6.0 on show no zone beyond)"
    if highest is not None:
        highest = _configured(highest, event)
    why_not = "" if may_wait is not False else f"{'|'.join(names)} may not wait"
    if (asked.comm or "").startswith("kswapd"):
        may_wait, why_not = False, "kswapd reclaims for all others and cannot wait for itself (PF_MEMALLOC)"
    is_high = "__GFP_HIGH" in flags
    is_harder = _is_harder(event, flags, mask, has_names)
    eighths = 8 // (2 if is_high else 1)
    if is_harder:
        eighths -= eighths // 4
    if _is_since(event, flags) and is_harder and not is_high:
        eighths = 8  # __zone_watermark_ok() takes a quarter off for ALLOC_NON_BLOCK within ALLOC_MIN_RESERVE only
    return RequestFacts(
        order=order,
        pages=None if order is None or not 0 <= order < 40 else 1 << order,
        highest_zone=highest,
        is_movable=movable,
        may_wait=may_wait,
        why_not=why_not,
        by_order=not has_names and bool(mask) and gfp.generation(mask or 0) != gfp.SPLIT_WAIT,
        min_eighths=eighths,
        ignores_boost=order == 0 and (is_high if _is_without_atomic(event, flags) else bool(flags & _ATOMIC)),
        uses_highatomic=is_harder or (is_high and _is_since(event, flags)),
        zone_from=zone_from,
    )


def _is_harder(event: OomEvent, flags: frozenset[str], mask: int | None, has_names: bool) -> bool:
    """Whether the request may go deeper into the reserve because it may not wait (gfp_to_alloc_flags()).

    Up to 4.3 any that may not wait, up to 6.2 those with __GFP_ATOMIC, from 6.3 on any again.
    """
    if not flags or "__GFP_DIRECT_RECLAIM" in flags or "__GFP_NOMEMALLOC" in flags:
        return False
    if has_names and not _is_since(event, flags):
        return bool(flags & _ATOMIC)
    if not has_names and gfp.generation(mask or 0) == gfp.SPLIT_WAIT:
        return "__GFP_ATOMIC" in flags
    return True


def _is_since(event: OomEvent, flags: frozenset[str]) -> bool:
    """Whether the kernel has ALLOC_NON_BLOCK: of 6.3 or later, or an updated 6.1."""
    match = _RELEASE.match(event.release or "")
    if match is not None and (int(match["major"]), int(match["minor"])) == _UPDATED:
        if match["debian"] and match["patch"] == "0":
            return int(match["debian"]) >= _UPDATE_OF_DEBIAN
        return int(match["patch"] or 0) >= _UPDATE
    return _is_without_atomic(event, flags)


def _is_without_atomic(event: OomEvent, flags: frozenset[str]) -> bool:
    """Whether the kernel has no __GFP_ATOMIC any more (6.3): GFP_ATOMIC's own bits tell it, else its release."""
    mask = event.asked.gfp_mask
    if "GFP_ATOMIC" in flags and mask is not None and event.asked.gfp_flags:
        return not mask & 0x200 and not mask & 0x80000
    match = _RELEASE.match(event.release or "")
    if match is not None:
        return (int(match["major"]), int(match["minor"])) >= _WITHOUT_HARDER
    return any("free_highatomic" in zone.kib for zone in event.zones)


def _highest(flags: frozenset[str]) -> str:
    """gfp_zone()."""
    if flags & {"GFP_DMA", "__GFP_DMA"}:
        return "DMA"
    if flags & {"GFP_DMA32", "__GFP_DMA32"}:
        return "DMA32"
    if "__GFP_HIGHMEM" in flags:
        return "Movable" if "__GFP_MOVABLE" in flags else "HighMem"
    return "Normal"


def _last_shown(event: OomEvent) -> str | None:
    """The request's highest zone where its flags are lost and the report leaves out the zones beyond.

    show_mem() with a gfp mask does so from 6.0 on; `boost:` (5.14) and later fields tell its age.
    """
    shown = [zone for zone in event.zones if "boost" in zone.kib]
    high_pages = event.totals.get("pages HighMem/MovableOnly", 0)
    if not shown or len(shown) != len(event.zones) or not high_pages:
        return None
    last = max((zone.name for zone in shown), key=zone_rank)
    return last if last not in ("HighMem", "Movable") else None


def zone_names(event: OomEvent) -> tuple[str, ...]:
    """The zones of this kernel in its order, those without memory too: as many as lowmem_reserve[] has values.

    Empty where nothing tells.
    """
    size = max((len(zone.lowmem_reserve_pages) for zone in event.zones), default=0)
    printed = {zone.name for zone in event.zones if zone.kib}
    if len(printed) == size:  # up to 4.x zones without memory are printed, too
        return tuple(sorted(printed, key=zone_rank))
    has_high = "HighMem" in printed or (bool(event.totals.get("pages HighMem/MovableOnly")) and "DMA32" not in printed)
    if size in (4, 5):
        lower = ("DMA", "Normal", "HighMem") if has_high else ("DMA", "DMA32", "Normal")
        return (*lower, "Movable", "Device")[:size]
    if size == 3:
        if has_high:
            return ("DMA" if "DMA" in printed else "Normal", "HighMem", "Movable")
        return ("DMA32" if "DMA32" in printed else "DMA", "Normal", "Movable")
    return ("Normal", "Movable") if size == 2 else ()


def _configured(highest: str, event: OomEvent) -> str:
    """The zone that flags stand for on this kernel: one that is not configured is Normal (OPT_ZONE_DMA32)."""
    names = zone_names(event)
    if not names:
        return "Normal" if highest == "DMA32" and event.arch in ("i386", "arm") else highest
    if highest in ("DMA", "DMA32", "HighMem") and highest not in names:
        return "Normal" if "Normal" in names else names[0]
    return highest
