"""atomic-reserve: a request that may not wait, while memory could have been reclaimed for one that may."""

from __future__ import annotations

from oomscope.model.oom_event import FAILURE
from oomscope.model.verdict import CERTAIN, LIKELY, Finding
from oomscope.verdict.oom.case import ATOMIC_RESERVE, Cause, OomCase

_MUCH_TO_RECLAIM = 0.05


def rule(case: OomCase) -> Cause | None:
    """Claims it for requests without direct reclaim where a twentieth of RAM could be reclaimed."""
    if case.event.kind != FAILURE or case.request.may_wait is not False:
        return None
    reclaimable = case.accounting.reclaimable_pages
    if case.share(reclaimable) < _MUCH_TO_RECLAIM:
        return None
    below = [check for check in case.allowed if check.passes is False]
    certain = bool(below) and len(below) == len(case.allowed) and case.request.order == 0
    usable = sum(check.usable_pages or 0 for check in case.allowed)
    return Cause(
        ATOMIC_RESERVE,
        Finding(
            claim=f"{case.request.why_not}, and {case.size(usable)} free was the reserve; "
            f"{case.size(reclaimable)} ({case.share_words(reclaimable)}) could have been reclaimed",
            pages=reclaimable,
            certainty=CERTAIN if certain else LIKELY,
            because=case.evidence("header", *(check.zone.title for check in below), "active_file"),
            refuted_by="the same failure for requests that may wait",
            next="raise vm.min_free_kbytes or vm.watermark_scale_factor so that kswapd starts earlier; "
            "a driver should survive this failure and try again",
        ),
    )
