"""Zones held against a request: could one of them have served it? (mm/page_alloc.c __zone_watermark_ok())."""

from __future__ import annotations

import re
from collections.abc import Iterable

from oomscope import bounds
from oomscope.attribution.oom.request import ZONE_ORDER, zone_names, zone_rank
from oomscope.model.oom_analysis import RequestFacts, ZoneCheck
from oomscope.model.oom_event import FreeBlocks, OomEvent, Zone

_ANY_REQUEST = frozenset("UMER")
_CMA = "C"
_HIDES_BOOST = re.compile(r"5\.(?:9|1[0-3])(?!\d)")
_SCALE_FACTOR = 10  # vm.watermark_scale_factor as it is unless told
_MAY_HIDE_FREE_HIGHATOMIC = re.compile(r"6\.(?:[3-9]|1[0-2])(?!\d)")


def zone_checks(event: OomEvent, request: RequestFacts) -> tuple[ZoneCheck, ...]:
    """Every zone that the report shows."""
    page_kib = event.page_kib or 4
    names = zone_names(event)
    return tuple(_check(zone, request, page_kib, names, event.release) for zone in event.zones)


def is_served(checks: Iterable[ZoneCheck], request: RequestFacts) -> bool | None:
    """Whether the allocator would have served the request from one of these zones as they stood, without reclaim.

    None where the log does not show what decides. What no log shows is taken for absent: a task that the OOM killer has
    chosen, or a real-time one, may go deeper into the reserve.
    """
    allowed = [check for check in checks if check.is_allowed]
    if any(check.passes and check.has_block for check in allowed):
        return True
    if request.highest_zone is None or not allowed:
        return None
    return False if all(check.passes is False or check.has_block is False for check in allowed) else None


def free_in(checks: Iterable[ZoneCheck]) -> int:
    """All free pages of some zones."""
    return sum(check.free_pages or 0 for check in checks)


def usable_in(checks: Iterable[ZoneCheck]) -> int:
    """What of it the request may have: neither CMA nor highatomic blocks that are kept from it."""
    return sum(check.usable_pages or 0 for check in checks)


def _check(zone: Zone, request: RequestFacts, page_kib: int, names: tuple[str, ...], release: str | None) -> ZoneCheck:
    def pages(name: str) -> int | None:
        kib = zone.kib.get(name)
        return None if kib is None else kib // page_kib

    highest = request.highest_zone
    allowed = highest is None or zone_rank(zone.name) <= zone_rank(highest)
    free, minimum, high, managed = pages("free"), pages("min"), pages("high"), pages("managed")
    if managed is None:
        managed = pages("present")
    if max(minimum or 0, managed or 0) > bounds.PAGES:
        minimum, high = None, None  # a counter that has wrapped: what binds the zone is not known
    # The request's own pages but one count as taken; CMA and highatomic blocks do not serve everybody.
    unusable = (request.pages or 1) - 1
    cma = 0 if request.is_movable else _cma(zone, page_kib)
    highatomic_least, highatomic = (0, 0) if request.uses_highatomic else _highatomic(zone, page_kib, release)
    usable = None if free is None else max(free - unusable - cma - highatomic, 0)
    usable_most = None if free is None else max(free - unusable - cma - highatomic_least, 0)
    reserve = _held_back(zone, highest, names)
    boost = pages("boost") or 0
    least = minimum
    if minimum is not None and request.ignores_boost:
        minimum, least = _without_boost(zone, minimum, pages("low"), page_kib, release)
    needed = None if minimum is None else _binding(minimum, request.min_eighths) + reserve
    needed_least = None if least is None else _binding(least, request.min_eighths) + reserve
    passes = None if usable is None or needed is None else usable > needed and managed != 0
    if passes is False and usable_most is not None and needed_least is not None and managed != 0:
        # What decides may not be printed: what is free of the highatomic reserve, or the boost.
        passes = None if usable_most > needed_least else False
    above_high = None if usable is None or high is None else usable > high + reserve and managed != 0
    fitting, has_block = _block(zone, request, page_kib, usable, needed)
    return ZoneCheck(
        zone,
        allowed,
        free,
        usable,
        needed,
        passes,
        above_high,
        has_block,
        fitting,
        managed,
        cma,
        highatomic,
        reserve,
        boost,
    )


def _without_boost(zone: Zone, minimum: int, low: int | None, page_kib: int, release: str | None) -> tuple[int, int]:
    """The watermark `min` of a zone before it was boosted, at most and at least, in pages.

    `boost` is printed from 5.14 on, and ignored by such requests from 5.9 on. In between it is a part of all three
    watermarks, and the distance of `min` and `low` is a quarter of `min` as it was, or what watermark_scale_factor asks
    for, where that is more (__setup_per_zone_wmarks()).
    """
    if "boost" in zone.kib or release is None or _HIDES_BOOST.match(release) is None:
        minimum -= min(zone.kib.get("boost", 0) // page_kib, minimum)
        return minimum, minimum
    if low is None or low <= minimum or "managed" not in zone.kib:
        return minimum, 0  # a line that is cut: how far it is boosted is not known
    quarter = low - minimum
    most = min(minimum, 4 * quarter + 3)
    scaled = zone.kib["managed"] // page_kib * _SCALE_FACTOR // 10_000
    return most, min(most, 0 if quarter <= scaled + 1 else 4 * quarter)


def _binding(minimum: int, eighths: int) -> int:
    """What of `min` binds a request, rounded as __zone_watermark_ok() does: a half is taken off, then a quarter."""
    if eighths <= 4:
        minimum -= minimum // 2
    return minimum - minimum // 4 if eighths in (3, 6) else minimum


def _block(
    zone: Zone, request: RequestFacts, page_kib: int, usable: int | None, needed: int | None
) -> tuple[int | None, bool | None]:
    """How many free blocks are large enough and may serve the request; whether that is enough for it to be served."""
    if request.pages is None or zone.blocks is None:
        return None, None
    if request.order == 0:
        return None, True
    size_kib = request.pages * page_kib
    fitting = sum(b.count for b in zone.blocks if b.size_kib >= size_kib and _serves(b, request))
    if not request.by_order:
        return fitting, fitting > 0
    if usable is None or needed is None:
        return fitting, None if fitting else False
    left, mark = usable, needed
    for block in zone.blocks:
        if block.size_kib >= size_kib:
            break
        left -= block.count * block.size_kib // page_kib
        mark >>= 1
        if left <= mark:
            return fitting, False
    return fitting, fitting > 0


def _serves(block: FreeBlocks, request: RequestFacts) -> bool:
    """Whether blocks on these lists may serve the request; without letters (before 3.8) any may."""
    if not block.types:
        return True
    letters = set(block.types)
    return bool(letters & _ANY_REQUEST) or (request.is_movable and _CMA in letters)


def _cma(zone: Zone, page_kib: int) -> int:
    """Free pages of CMA: `free_cma:` of the zone; where that is cut off, the free lists that are CMA's alone."""
    if (kib := zone.kib.get("free_cma")) is not None:
        return kib // page_kib
    return sum(b.count * b.size_kib // page_kib for b in zone.blocks or () if b.types == _CMA)


def _highatomic(zone: Zone, page_kib: int, release: str | None) -> tuple[int, int]:
    """What __zone_watermark_unusable_free() takes off for the highatomic reserve, at least and at most, in pages.

    It is taken off from requests that may not use it. From 6.13 on that is what of it is free, and printed; up to 6.2
    all that was set aside, free or not (nr_reserved_highatomic, printed from 5.2 on). 6.12 takes what is free and does
    not print it, and the updates of those between may do so: then the free lists tell between which numbers it is.
    Reports older than the field tell no more, and there the lower one is taken.
    """
    if (free_kib := zone.kib.get("free_highatomic")) is not None:
        return free_kib // page_kib, free_kib // page_kib
    least, most = _free_highatomic(zone, page_kib)
    if (kib := zone.kib.get("reserved_highatomic")) is None:
        return least, least
    reserved = kib // page_kib
    if release is not None and _MAY_HIDE_FREE_HIGHATOMIC.match(release) is None:
        return reserved, reserved
    return min(least, reserved), min(most, reserved)


def _free_highatomic(zone: Zone, page_kib: int) -> tuple[int, int]:
    """Free pages of blocks on lists marked H, at least and at most: each of a list's letters has a block of it."""
    least = most = 0
    for block in zone.blocks or ():
        if block.types and "H" in block.types:
            pages = block.size_kib // page_kib
            least += pages * (block.count if block.types == "H" else 1)
            most += pages * (block.count - len(block.types) + 1)
    return least, most


def _held_back(zone: Zone, highest: str | None, names: tuple[str, ...]) -> int:
    """Pages that lowmem_reserve keeps from requests that a higher zone could serve."""
    reserve = zone.lowmem_reserve_pages
    if not reserve or not names:
        return 0
    limit = len(ZONE_ORDER) if highest is None else zone_rank(highest)
    index = max((i for i, name in enumerate(names) if zone_rank(name) <= limit), default=-1)
    return reserve[index] if 0 <= index < len(reserve) else 0
