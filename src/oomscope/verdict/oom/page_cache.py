"""page-cache: file contents that could not be given back: dirty, under writeback, unevictable."""

from __future__ import annotations

from oomscope.model import oom_analysis as rows
from oomscope.model.oom_event import KILL, PANIC
from oomscope.model.verdict import LIKELY, POSSIBLE, Finding
from oomscope.verdict.oom.case import PAGE_CACHE, OomCase
from oomscope.verdict.oom.user_anon import locked_pages

OOM_CLASS = PAGE_CACHE


def pages(case: OomCase) -> int:
    """Files on the lists, copies under writeback, and what is unevictable without being locked process memory."""
    accounting = case.accounting
    is_of_tail = "pagecache pages" in case.event.totals and "active_file" not in case.event.counters
    if is_of_tail and accounting.swap_total_pages and not accounting.swap_free_pages:
        return 0  # with swap full it is shared memory as well as files, and the log does not tell them apart
    on_lists = accounting.pages(rows.FILE, rows.WRITEBACK_TMP, rows.UNEVICTABLE) - locked_pages(case)
    return on_lists + accounting.isolated_pages(rows.ISOLATED_FILE)


def finding(case: OomCase, held_pages: int, certainty: str) -> Finding:
    """Why it could not be given back."""
    counters = case.event.counters
    waiting = counters.get("dirty", 0) + counters.get("writeback", 0)
    unevictable = case.accounting.pages(rows.UNEVICTABLE)
    why = []
    if waiting:
        why.append(f"{case.size(waiting)} dirty or under writeback")
    if not waiting * 4 > held_pages and _gave_up(case):
        why.append("reclaim had given up on it (all_unreclaimable: yes)")
    if unevictable * 4 > held_pages:
        why.append(f"{case.size(unevictable)} unevictable (mlock, ramfs, an initramfs)")
    return Finding(
        claim=f"page cache: {case.size(held_pages)}, {case.share_words(held_pages)}"
        + (f"; {', '.join(why)}" if why else ""),
        pages=held_pages,
        certainty=certainty if unevictable * 2 <= held_pages or certainty == POSSIBLE else LIKELY,
        because=case.evidence("active_file", "unevictable", "pages RAM"),
        refuted_by="a small Cached in /proc/meminfo of that moment",
        next=_next(case, held_pages, waiting, unevictable),
    )


def _next(case: OomCase, held_pages: int, waiting: int, unevictable: int) -> str:
    if unevictable * 4 > held_pages:
        return "find what is locked or cannot be written anywhere: mlock(), ramfs, an initramfs that is too large"
    if waiting * 4 > held_pages:
        return "let writeback begin earlier: vm.dirty_bytes below what storage takes in a second"
    if not case.event.processes and case.accounting.swap_total_pages == 0 and case.event.kind == PANIC:
        return "the files came with the boot (an initramfs): make it smaller, or give the machine more memory"
    if case.event.kind not in (KILL, PANIC):
        return "nothing by itself: page cache is given back to requests that may wait for it"
    return "reclaim gave up on page cache that is clean: a bug of the file system or the kernel; try a newer kernel"


def _gave_up(case: OomCase) -> bool:
    """Whether reclaim had scanned the zones over and over (all_unreclaimable? yes; mm/vmscan.c zone_reclaimable())."""
    return "all_unreclaimable" in case.event.remarks
