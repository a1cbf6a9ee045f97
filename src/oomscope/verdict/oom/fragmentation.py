"""fragmentation: memory is free above the watermark, and no block of it is large enough."""

from __future__ import annotations

from oomscope.attribution.oom.zones import free_in
from oomscope.attribution.page_size import USUAL_BYTES
from oomscope.model.oom_analysis import ZoneCheck
from oomscope.model.oom_event import FAILURE, KILL, PANIC, FreeBlocks
from oomscope.model.verdict import CERTAIN, LIKELY, POSSIBLE, Finding
from oomscope.units import bytes_text
from oomscope.verdict import advice
from oomscope.verdict.oom.case import FRAGMENTATION, Cause, OomCase

_COSTLY_ORDER = 3  # include/linux/mmzone.h PAGE_ALLOC_COSTLY_ORDER: beyond it the allocator gives up soon
_MUCH_TO_RECLAIM = 0.05
_FEW_BLOCKS = 16
_SMALL_KIB = 32  # with blocks of that size most of what asks for more than a page is served


def rule(case: OomCase) -> Cause | None:
    """Claims it for a request of several pages that no allowed zone has a block for."""
    order = case.request.order
    if order is None and case.event.kind in (KILL, FAILURE, PANIC):
        return _of_unknown_order(case)
    if order is None or order < 1:
        return None
    passing = [check for check in case.allowed if check.passes and not case.is_tiny(check)]
    if any(check.has_block for check in passing):
        return _of_few_blocks(case, passing)
    known = [check for check in passing if check.has_block is False]
    if known:
        return _cause(case, known, CERTAIN if _is_told(known) else LIKELY)
    large = [check for check in case.allowed if check.passes or (check.managed_pages or 0) > 0.01 * case.base_pages]
    blockless = [check for check in large if check.fitting_blocks == 0 and check.free_pages]
    costly = order > _COSTLY_ORDER
    much = case.share(case.accounting.reclaimable_pages) >= _MUCH_TO_RECLAIM
    if blockless and costly and much and all(check.fitting_blocks in (0, None) for check in large if check.free_pages):
        return _cause(case, blockless, LIKELY)
    if not case.allowed and costly and much:
        return _cause(case, [], POSSIBLE if order < 5 else LIKELY)
    if costly and case.event.kind == FAILURE and not case.event.zones and not case.event.counters:
        return _cause(case, [], POSSIBLE)
    return None


def _of_unknown_order(case: OomCase) -> Cause | None:
    """The header is lost, and a zone was above its watermark: a single page could have been had, so it was more."""
    # Before a kill the kernel asks for `high` once more (__alloc_pages_may_oom()).
    is_kill = case.event.kind != FAILURE
    relaxed = [
        check
        for check in case.allowed
        if (check.is_above_high if is_kill else check.passes) and not case.is_tiny(check) and check.zone.blocks
    ]
    if not relaxed or case.event.memcg is not None or case.is_page_fault:
        return None
    sizes = sorted({block.size_kib for check in relaxed for block in check.zone.blocks or () if block.count})
    fitting = [
        size
        for size in sizes
        if any(b.size_kib >= size and b.count and _may_serve(b) for check in relaxed for b in check.zone.blocks or ())
    ]
    largest_kib = max(fitting, default=0)
    if largest_kib >= _SMALL_KIB or not largest_kib:
        return None
    free = free_in(relaxed)
    names = ", ".join(check.zone.title for check in relaxed)
    return Cause(
        FRAGMENTATION,
        Finding(
            claim=f"{case.size(free)} is free in {names}, above its watermark{_of_it_cma(case, relaxed)}, in blocks of "
            f"{bytes_text(largest_kib * 1024)} at most for most requests: this one, whose first line is lost, must "
            "have been for a larger block",
            pages=free or None,
            certainty=LIKELY,
            because=case.evidence(*(name for c in relaxed for name in (c.zone.title, f"free lists of {c.zone.title}"))),
            refuted_by="the line with order= above these: a single page",
            next="find the line above these that says who asked for what (order and gfp mask)",
        ),
    )


def _of_few_blocks(case: OomCase, passing: list[ZoneCheck]) -> Cause | None:
    """A costly request that may wait failed, and the few blocks that fit are those of after the failure."""
    order, fitting = case.request.order or 0, sum(check.fitting_blocks or 0 for check in passing)
    if (
        case.event.kind != FAILURE
        or order <= _COSTLY_ORDER
        or case.request.may_wait is not True
        or fitting > _FEW_BLOCKS
    ):
        return None
    free = free_in(passing)
    return Cause(
        FRAGMENTATION,
        Finding(
            claim=f"{case.size(free)} is free in {', '.join(check.zone.title for check in passing)}, but blocks of "
            f"{_size(case)} or more are few: {fitting} when this was printed, after the failure",
            pages=free or None,
            certainty=LIKELY,
            because=case.evidence("header", *(f"free lists of {check.zone.title}" for check in passing)),
            refuted_by="many such blocks at the moment of the request",
            next=_next(case),
        ),
    )


def _next(case: OomCase) -> str:
    """Who reads of a kill has no caller to change."""
    compaction = advice.compaction(case.release)
    if case.event.kind in (KILL, PANIC):
        return compaction
    return f"{advice.single_pages(case.release)}; {compaction}"


def _of_it_cma(case: OomCase, zones: list[ZoneCheck]) -> str:
    cma = sum(check.cma_pages for check in zones)
    return f" ({case.size(cma)} of it is CMA)" if cma else ""


def _may_serve(block: FreeBlocks) -> bool:
    return not block.types or bool(set(block.types) & set("UMER"))


def _cause(case: OomCase, zones: list[ZoneCheck], certainty: str) -> Cause:
    free = free_in(zones)
    size = _size(case)
    if zones:
        names = ", ".join(check.zone.title for check in zones)
        claim = (
            f"{case.size(free)} is free in {names}{case.of_it_cma(zones)}, but not one block of {size} that may serve "
        )
        claim += "the request"
    elif not case.event.counters:
        claim = (
            f"a block of {size} was asked for{case.caller}: such blocks are the first to run out, long before memory "
            "does; the numbers of this failure are not in the log"
        )
    else:
        reclaimable = case.size(case.accounting.reclaimable_pages)
        claim = f"a block of {size} was asked for while {reclaimable} could be reclaimed"
    marked = _marked(case, zones)
    names_of = [name for check in zones for name in (check.zone.title, f"free lists of {check.zone.title}")]
    return Cause(
        FRAGMENTATION,
        Finding(
            claim=claim + (f"; {marked}" if marked else ""),
            pages=free or None,
            certainty=certainty,
            because=case.evidence("header", *names_of) or case.evidence("header"),
            refuted_by=f"a free block of {size} or more on a list marked U, M or E in an allowed zone",
            next=_next(case),
        ),
    )


def _marked(case: OomCase, zones: list[ZoneCheck]) -> str:
    """Blocks that are large enough and reserved for others."""
    if case.request.pages is None:
        return ""
    least_kib = case.request.pages * (case.event.page_kib or 4)
    count = sum(
        block.count
        for check in zones
        for block in check.zone.blocks or ()
        if block.size_kib >= least_kib and block.types and not set(block.types) & set("UMER")
    )
    return f"{count:,} that are large enough are marked C or H (for movable or atomic requests alone)" if count else ""


def _is_told(zones: list[ZoneCheck]) -> bool:
    """Whether the free lists are whole: their sum is the zone's free memory, as far as two readings agree."""
    return all(check.zone.blocks is not None and len(check.zone.blocks) >= 8 for check in zones)


def _size(case: OomCase) -> str:
    page_bytes = case.analysis.page_bytes
    pages = case.request.pages or 1
    if page_bytes is None:
        return f"{pages:,} pages ({bytes_text(pages * USUAL_BYTES)} with pages of 4 KiB)"
    return bytes_text(pages * page_bytes)
