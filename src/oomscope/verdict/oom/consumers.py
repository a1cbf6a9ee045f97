"""Who holds most of RAM: the classes that are left when nothing else says why the request failed.

Each holder is claimed by itself (one file each); the greatest gives the class, the others stand beside it.
"""

from __future__ import annotations

from oomscope.model import oom_analysis as rows
from oomscope.model.oom_event import FAILURE, SHOWN
from oomscope.model.verdict import CERTAIN, LIKELY, POSSIBLE
from oomscope.units import AT_ONE_MOMENT
from oomscope.verdict.oom import hidden_kernel, hugetlb, kernel_stacks, page_cache, shmem, slab, user_anon
from oomscope.verdict.oom.case import Cause, OomCase

HOLDERS = (user_anon, shmem, page_cache, slab, hugetlb, kernel_stacks, hidden_kernel)
_WORTH_NAMING = 0.1
_MOST = 0.5
_MUCH = 0.35


def holders(case: OomCase) -> list[Cause]:
    """The holders worth naming, the greatest first; where nothing is counted, whom the kernel killed."""
    if not case.accounting.rows:
        told = (user_anon.by_kill(case), slab.by_cache(case))
        return [cause for cause in told if cause is not None]
    ranked = sorted(((holder.pages(case), holder) for holder in HOLDERS), key=lambda pair: -pair[0])
    causes = []
    for index, (pages, holder) in enumerate(ranked):
        if pages <= 0 or (case.share(pages) < _WORTH_NAMING and (index or not case.accounting.is_whole)):
            continue
        next_pages = ranked[index + 1][0] if index + 1 < len(ranked) else 0
        causes.append(Cause(holder.OOM_CLASS, holder.finding(case, pages, _certainty(case, pages, next_pages))))
    return causes


def _certainty(case: OomCase, pages: int, next_pages: int) -> str:
    """Certain where RAM is known and closes, and this is half of it, or twice what the next one holds."""
    accounting = case.accounting
    share = case.share(pages)
    closes = accounting.unexplained_pages is not None and accounting.unexplained_pages >= 0
    if (
        closes
        and accounting.is_whole
        and not accounting.problems
        and not case.is_mostly_reserved
        and not accounting.pages(rows.LRU)  # two holders in one row
        and case.event.kind != SHOWN  # what failed, if anything, is not known
        and not (case.event.kind == FAILURE and any(check.passes for check in case.allowed))
        and not (case.request.order is None and any(check.passes for check in case.allowed))  # what else it needed
        and (share >= _MOST or (share >= _MUCH and pages >= 2 * next_pages))
    ):
        return CERTAIN
    if share > AT_ONE_MOMENT:
        return POSSIBLE  # a number of the report is damaged
    return LIKELY if share >= _MOST or pages >= 1.5 * next_pages else POSSIBLE
