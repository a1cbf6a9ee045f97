"""Whom the kernel would rather kill: the score of each row of the task table (mm/oom_kill.c oom_badness()).

From 2.6.36 on it is what a task would give back (resident memory, swap, page tables) in thousandths of RAM and swap,
plus oom_score_adj. Up to 4.16 a task of root's is taken three hundredths off, which a table does not show.
"""

from __future__ import annotations

from oomscope.model.oom_analysis import Accounting, Score
from oomscope.model.oom_event import OomEvent, Process

NEVER = -1000  # OOM_SCORE_ADJ_MIN
_THOUSAND = 1000


def scores(event: OomEvent, accounting: Accounting) -> tuple[Score, ...]:
    """Every row with its score, the highest first; none where the kernel was older, or what it had is not told."""
    total = _total_pages(event, accounting)
    page_bytes = (event.page_kib or 4) * 1024
    if not total or event.is_confined:
        return ()
    found = []
    for process in event.processes:
        adj = process.values.get("oom_score_adj")
        if adj is None or "oom_adj" in process.values:
            return ()
        held = process.values.get("rss", 0) + process.values.get("swapents", 0) + _page_tables(process, page_bytes)
        points = held + adj * (total // _THOUSAND)
        found.append(Score(process, points, max(points * _THOUSAND // total, 0), adj == NEVER))
    return tuple(sorted(found, key=lambda score: (score.is_unkillable, -score.points)))


def _page_tables(process: Process, page_bytes: int) -> int:
    told = process.values
    if "pgtables_bytes" in told:
        return told["pgtables_bytes"] // page_bytes
    return told.get("nr_ptes", 0) + told.get("nr_pmds", 0)


def _total_pages(event: OomEvent, accounting: Accounting) -> int | None:
    """RAM and swap, or what the group's limit allows."""
    if event.memcg is not None:
        limit_kib = event.memcg.limit_kib
        return None if limit_kib is None else limit_kib // (event.page_kib or 4)
    if accounting.ram_pages is None or accounting.is_of_zones or accounting.swap_total_pages is None:
        return None
    return accounting.ram_pages + accounting.swap_total_pages
