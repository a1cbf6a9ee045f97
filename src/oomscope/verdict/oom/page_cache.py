"""page-cache: file contents that could not be given back: dirty, under writeback, unevictable."""

from __future__ import annotations

from oomscope.model import oom_analysis as rows
from oomscope.model.verdict import LIKELY, POSSIBLE, Finding
from oomscope.verdict.oom.case import PAGE_CACHE, OomCase
from oomscope.verdict.oom.user_anon import locked_pages

OOM_CLASS = PAGE_CACHE


def pages(case: OomCase) -> int:
    """Files on the lists, copies under writeback, and what is unevictable without being locked process memory."""
    accounting = case.accounting
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
    if unevictable * 4 > held_pages:
        why.append(f"{case.size(unevictable)} unevictable (mlock, ramfs, an initramfs)")
    return Finding(
        claim=f"file contents hold {case.size(held_pages)}, {case.share_words(held_pages)}"
        + (f": {', '.join(why)}" if why else ""),
        pages=held_pages,
        certainty=certainty if unevictable * 2 <= held_pages or certainty == POSSIBLE else LIKELY,
        because=case.evidence("active_file", "unevictable", "pages RAM"),
        refuted_by="a small Cached in /proc/meminfo of that moment",
        next="unevictable: what is locked or in ramfs; dirty: vm.dirty_bytes below what storage takes in a second",
    )
