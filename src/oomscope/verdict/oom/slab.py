"""slab: kernel objects in slab caches hold most of RAM."""

from __future__ import annotations

from oomscope.attribution.page_size import USUAL_BYTES
from oomscope.model import oom_analysis as rows
from oomscope.model.verdict import LIKELY, POSSIBLE, Finding
from oomscope.units import AT_ONE_MOMENT, bytes_text, share_text
from oomscope.verdict import advice
from oomscope.verdict.oom.case import SLAB, Cause, OomCase

OOM_CLASS = SLAB
_SHOWN = 3
_WORTH_NAMING, _MUCH, _MOST = 0.05, 0.2, 0.5  # of RAM
_LARGE_BYTES = 1 << 30


def pages(case: OomCase) -> int:
    """Reclaimable and unreclaimable caches."""
    return case.accounting.pages(rows.SLAB_RECLAIMABLE, rows.SLAB_UNRECLAIMABLE, rows.SLAB)


def finding(case: OomCase, held_pages: int, certainty: str) -> Finding:
    """How much, and which caches."""
    caches = sorted(case.event.slab_caches, key=lambda cache: -cache.total_kib)[:_SHOWN]
    named = ", ".join(f"{cache.name} {bytes_text(cache.total_kib * 1024)}" for cache in caches)
    fixed = case.accounting.pages(rows.SLAB_UNRECLAIMABLE)
    sites = [site for site in case.event.call_sites if "slab" not in site.function and _is_large(case, site.size_bytes)]
    callers = ", ".join(f"{site.function} {bytes_text(site.size_bytes)}" for site in sites[:_SHOWN])
    held = f"slab caches: {case.size(held_pages)}, {case.share_words(held_pages)}"
    return Finding(
        claim=(f"{held}, {case.size(fixed)} of it unreclaimable" if fixed else held)
        + (f"; the largest: {named}" if named else _of_the_cache(case))
        + (f"; allocation profiling names {callers}" if callers else ""),
        pages=held_pages,
        certainty=certainty,
        because=case.evidence(
            "slab_reclaimable", "slab", "pages slab", "Unreclaimable slab info", "Memory allocations", "pages RAM"
        ),
        refuted_by="a small Slab in /proc/meminfo of that moment",
        next=_next(caches[0].name if caches else None, case.release),
    )


def by_cache(case: OomCase) -> Cause | None:
    """Without counters: the cache that could not grow says how many slabs it has already."""
    request = case.event.slab_request
    if request is None or not request.most_pages:
        return None
    page_bytes = case.analysis.page_bytes or USUAL_BYTES
    size_bytes = request.most_pages * page_bytes
    share = None if case.ram_bytes is None else size_bytes / case.ram_bytes
    if (share is None and size_bytes < _LARGE_BYTES) or (share is not None and not _MUCH <= share <= AT_ONE_MOMENT):
        return None
    of = "" if share is None else f", {share_text(share)} of RAM"
    return Cause(
        SLAB,
        Finding(
            claim=f"the slab cache {request.cache} has {_slabs(case)}: {bytes_text(size_bytes)}{of}",
            pages=request.most_pages,
            certainty=LIKELY if share is not None and share >= _MOST else POSSIBLE,
            because=case.evidence("header", "slab cache"),
            refuted_by="slabs that were made smaller than usual because memory was short",
            next=_next(request.cache, case.release),
        ),
    )


def _slabs(case: OomCase) -> str:
    request = case.event.slab_request
    assert request is not None
    page_bytes = case.analysis.page_bytes or USUAL_BYTES
    least = request.order if request.least_order is None else request.least_order
    most = "" if least == request.order else "up to "
    return f"{request.slabs:,} slabs of {most}{bytes_text(page_bytes << (request.order or 0))}"


def _of_the_cache(case: OomCase) -> str:
    """The cache that could not grow, where it has a part of RAM worth naming."""
    request = case.event.slab_request
    if request is None or request.most_pages < _WORTH_NAMING * case.base_pages:
        return ""
    return f"; {request.cache} alone has {_slabs(case)} ({case.size(request.most_pages)})"


def _is_large(case: OomCase, size_bytes: int) -> bool:
    page_bytes = case.analysis.page_bytes or 4096
    return size_bytes > 0.02 * case.base_pages * page_bytes


def _next(cache: str | None, release: str | None) -> str:
    first = "" if cache else "slabtop -o -s c names the cache; "
    return f"{first}{advice.slab_owners(release, cache)}: it names who allocated the objects"
