"""cma: a contiguous range was asked for and its pool is used up, or cannot be emptied (mm/cma.c cma_alloc())."""

from __future__ import annotations

from oomscope.model.oom_event import CMA_FAILURE
from oomscope.model.verdict import CERTAIN, LIKELY, Finding
from oomscope.units import bytes_text
from oomscope.verdict.oom.case import CMA, Cause, OomCase

_USED_UP = 0.05
_BUSY, _NO_MEMORY = -16, -12  # EBUSY, ENOMEM


def rule(case: OomCase) -> Cause | None:
    """Claims it for requests to a pool, which no other memory of the machine can serve."""
    request = case.event.cma_request
    if case.event.kind != CMA_FAILURE or request is None:
        return None
    pool = "the CMA pool" if request.pool is None else f"the CMA pool {request.pool}"
    asked = ""
    if request.asked_pages is not None:
        size = "" if case.analysis.page_bytes is None else f"{case.size(request.asked_pages)} "
        asked = f" for {size}{'(' if size else ''}{request.asked_pages:,} pages{')' if size else ''} in one range"
    elif case.event.asked.size_bytes:
        asked = f" for {bytes_text(case.event.asked.size_bytes)}"
    words = [f"{pool} could not serve a request{asked}"]
    if request.total_pages:
        free = request.free_pages or 0
        sizes = f" ({case.size(free)} of {case.size(request.total_pages)})" if case.analysis.page_bytes else ""
        words.append(f"{free:,} of its {request.total_pages:,} pages are free{sizes}")
    if (why := _why(case)) is not None:
        words.append(why)
    words += [f"the driver's own count: {name} {kib:,} kB" for name, kib in list(request.buffers_kib.items())[:1]]
    told = request.total_pages is not None or request.error == _BUSY
    return Cause(
        CMA,
        Finding(
            claim="; ".join(words),
            pages=None if not request.total_pages else request.total_pages - (request.free_pages or 0),
            certainty=CERTAIN if told or case.event.lines.get("header") else LIKELY,
            because=case.evidence("header", "CMA", *request.buffers_kib),
            refuted_by="a range of that size free in /sys/kernel/debug/cma/*/bitmap at that moment",
            next="make the pool larger (cma=SIZE on the command line, or the device tree's linux,cma); see who holds "
            "it: /sys/kernel/debug/cma/*/{count,used,maxchunk}, /sys/kernel/debug/dma_buf/bufinfo",
        ),
    )


def _why(case: OomCase) -> str | None:
    request = case.event.cma_request
    assert request is not None
    if request.error == _BUSY:
        return "ret -16 (EBUSY): pages within it could not be moved away in time"
    if request.total_pages and (request.free_pages or 0) < _USED_UP * request.total_pages:
        return "it is exhausted"
    if request.error == _NO_MEMORY:
        return "ret -12 (ENOMEM): no range of that length is free in it"
    return None
