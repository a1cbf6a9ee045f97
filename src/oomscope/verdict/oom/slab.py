"""slab: kernel objects in slab caches hold most of RAM."""

from __future__ import annotations

from oomscope.model import oom_analysis as rows
from oomscope.model.verdict import Finding
from oomscope.units import bytes_text
from oomscope.verdict.oom.case import SLAB, OomCase

OOM_CLASS = SLAB
_SHOWN = 3


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
    held = f"slab caches hold {case.size(held_pages)}, {case.share_words(held_pages)}"
    return Finding(
        claim=(f"{held}, {case.size(fixed)} of it unreclaimable" if fixed else held)
        + (f"; the largest: {named}" if named else "")
        + (f"; allocation profiling names {callers}" if callers else ""),
        pages=held_pages,
        certainty=certainty,
        because=case.evidence(
            "slab_reclaimable", "slab", "pages slab", "Unreclaimable slab info", "Memory allocations", "pages RAM"
        ),
        refuted_by="a small Slab in /proc/meminfo of that moment",
        next=_next(caches[0].name if caches else None),
    )


def _is_large(case: OomCase, size_bytes: int) -> bool:
    page_bytes = case.analysis.page_bytes or 4096
    return size_bytes > 0.02 * case.base_pages * page_bytes


def _next(cache: str | None) -> str:
    where = f"/sys/kernel/debug/slab/{cache or '*'}/alloc_traces"
    first = "" if cache else "slabtop -o -s c names the cache; "
    option = f"slub_debug=U,{cache}" if cache else "slub_debug=U"
    return f"{first}boot with {option} and read {where}: it names who allocated the objects"
