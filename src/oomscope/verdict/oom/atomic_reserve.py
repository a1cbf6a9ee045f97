"""atomic-reserve: a request that may not wait, while memory could have been reclaimed for one that may."""

from __future__ import annotations

from oomscope.model.oom_event import FAILURE
from oomscope.model.verdict import CERTAIN, LIKELY, Finding
from oomscope.units import bytes_text
from oomscope.verdict import advice
from oomscope.verdict.oom.case import ATOMIC_RESERVE, Cause, OomCase

_MUCH_TO_RECLAIM = 0.05
_NEARLY_ALL = 0.98


def rule(case: OomCase) -> Cause | None:
    """Claims it for requests without direct reclaim where a twentieth of RAM could be reclaimed."""
    if case.event.kind != FAILURE or case.request.may_wait is not False:
        return None
    reclaimable = case.accounting.reclaimable_pages
    if not case.event.has_counters and (by_cma := _only_cma(case)) is not None:
        return by_cma
    if case.share(reclaimable) < _MUCH_TO_RECLAIM:
        return None
    below = [check for check in case.allowed if check.passes is False]
    certain = bool(below) and len(below) == len(case.allowed) and case.request.order == 0
    usable = sum(check.usable_pages or 0 for check in case.allowed)
    return Cause(
        ATOMIC_RESERVE,
        Finding(
            claim=f"{case.request.why_not}, and the {case.size(usable)} still free are reserved"
            f"{_of_free(case)}; "
            f"{case.size(reclaimable)} ({case.share_words(reclaimable)}) could have been reclaimed",
            pages=reclaimable,
            certainty=CERTAIN if certain else LIKELY,
            because=case.evidence("header", *(check.zone.title for check in below), "active_file"),
            refuted_by="the same failure for requests that may wait",
            next=f"{advice.earlier_reclaim(case.release)}; a driver should survive this failure and try again",
        ),
    )


def _of_free(case: OomCase) -> str:
    """How much is free besides, in CMA: not for such a request."""
    cma = sum(check.cma_pages for check in case.allowed)
    free = sum(check.free_pages or 0 for check in case.allowed)
    return (
        f" (of {case.size(free)} free, {case.size(cma)} is CMA, for movable pages alone)" if cma * 10 > free > 0 else ""
    )


def _only_cma(case: OomCase) -> Cause | None:
    """Where only free lists are left of the report: all that is free is CMA."""
    listed = [check for check in case.allowed if check.zone.blocks]
    total = sum(b.count * b.size_kib for check in listed for b in check.zone.blocks or ())
    cma = sum(b.count * b.size_kib for check in listed for b in check.zone.blocks or () if b.types == "C")
    if not total or cma < _NEARLY_ALL * total:
        return None
    return Cause(
        ATOMIC_RESERVE,
        Finding(
            claim=f"{case.request.why_not}, and all that is free ({bytes_text(total * 1024)}) is CMA, for movable "
            "pages alone",
            pages=None,
            certainty=LIKELY,
            because=case.evidence("header", *(f"free lists of {check.zone.title}" for check in listed)),
            refuted_by="free blocks on lists other than C",
            next="make CMA smaller (cma=SIZE), or raise vm.min_free_kbytes so that kswapd keeps other pages free",
        ),
    )
