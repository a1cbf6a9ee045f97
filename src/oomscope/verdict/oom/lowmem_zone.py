"""lowmem-zone: the zones that may serve the request are empty while others are not."""

from __future__ import annotations

from oomscope.attribution.oom.zones import free_in
from oomscope.model.verdict import CERTAIN, LIKELY, Finding
from oomscope.verdict.oom.case import LOWMEM_ZONE, Cause, OomCase

_WORTH_NAMING = 0.05  # of RAM, free in zones that the request may not use
_LARGE_PART = 0.2  # of RAM, in zones that the request may not use
_ROOM_IN_SWAP = 0.05
_SMALL_ZONE = 0.02  # of RAM, as DMA is


def rule(case: OomCase) -> Cause | None:
    """Claims it where every allowed zone is below its watermark, and zones beyond have memory, free or to be had."""
    highest = case.request.highest_zone
    if highest is None:
        return _by_the_zones(case)
    if not case.allowed or not all(case.is_used_up(check) for check in case.allowed):
        return None
    accounting = case.accounting
    beyond = sum(check.managed_pages or 0 for check in case.above) + accounting.hidden_zone_pages
    free_beyond = free_in(case.above) + accounting.hidden_free_pages
    seen_free = any(check.is_above_high for check in case.above)
    if free_beyond >= _WORTH_NAMING * case.base_pages and (seen_free or accounting.hidden_free_pages):
        certainty, there = CERTAIN if seen_free else LIKELY, f"{case.size(free_beyond)} is free there"
    elif beyond >= _LARGE_PART * case.base_pages and _could_be_freed(case):
        certainty, there = LIKELY, "what is there could be swapped out or dropped"
    else:
        return None
    names = list(dict.fromkeys(check.zone.name for check in case.allowed))
    free = free_in(case.allowed)
    least = [check.zone.title for check in case.allowed]
    return Cause(
        LOWMEM_ZONE,
        Finding(
            claim=f"{exhausted(names)} ({case.size(free)} free{case.of_it_cma(case.allowed)}, below the watermark)"
            f"; {case.gfp or 'the request'} "
            f"may not use the zones beyond{f', {case.size(beyond)}' if beyond else ''}: {there}",
            pages=free,
            certainty=certainty,
            because=case.evidence("header", *least, *(check.zone.title for check in case.above)),
            refuted_by="a zone among the allowed ones above its watermark",
            next=_next(case),
        ),
    )


def _by_the_zones(case: OomCase) -> Cause | None:
    """Without the request: a low zone is used up while HighMem is not, so that only the low one can have been asked."""
    low = [check for check in case.analysis.zones if check.zone.name in ("DMA", "DMA32", "Normal")]
    high = [check for check in case.analysis.zones if check.zone.name in ("HighMem", "Movable")]
    short = [check for check in low if (check.managed_pages or 0) > _SMALL_ZONE * case.base_pages]
    if not short or not any(check.is_above_high for check in high):
        return None
    if any(check.free_pages is None or check.needed_pages is None or check.passes for check in short):
        return None
    names = list(dict.fromkeys(check.zone.name for check in short))
    free = free_in(short)
    return Cause(
        LOWMEM_ZONE,
        Finding(
            claim=f"{exhausted(names)} ({case.size(free)} free{case.of_it_cma(short)}, below the watermark) while "
            f"{case.size(free_in(high))} is free in {high[-1].zone.name}: the request, whose line is lost, was for the "
            "low zone",
            pages=free,
            certainty=LIKELY,
            because=case.evidence(*(check.zone.title for check in (*short, *high))),
            refuted_by="a header above these lines whose mask allows HighMem",
            next=_next(case),
        ),
    )


def _could_be_freed(case: OomCase) -> bool:
    accounting = case.accounting
    swap = accounting.swap_free_pages or 0
    total = accounting.swap_total_pages or 0
    file = accounting.pages("page cache")
    return (total > 0 and swap > _ROOM_IN_SWAP * total) or file >= _LARGE_PART * case.base_pages


def _next(case: OomCase) -> str:
    highest = case.request.highest_zone
    if highest in ("DMA", "DMA32"):
        return f"ask whether the driver needs {highest} at all (its DMA mask), or give it a pool of its own early (CMA)"
    if any(check.zone.name == "Movable" for check in case.above):
        return "give kernel memory more room: a larger kernelcore=, less memory online_movable"
    return "32-bit: a 64-bit kernel, or a larger lowmem split; find what grew in lowmem: slab and page tables below"


def exhausted(zones: list[str]) -> str:
    """`zone Normal is exhausted`, `zones DMA and Normal are exhausted`."""
    if len(zones) == 1:
        return f"zone {zones[0]} is exhausted"
    return f"zones {', '.join(zones[:-1])} and {zones[-1]} are exhausted"
