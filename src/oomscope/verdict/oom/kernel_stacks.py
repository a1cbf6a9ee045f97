"""kernel-stacks-pagetables: many tasks, or large sparse mappings, hold RAM in page tables and kernel stacks."""

from __future__ import annotations

from oomscope.model import oom_analysis as rows
from oomscope.model.verdict import Finding
from oomscope.verdict.oom.case import STACKS_TABLES, OomCase

OOM_CLASS = STACKS_TABLES


def pages(case: OomCase) -> int:
    """Page tables, those of virtual machines, and kernel stacks."""
    return case.accounting.pages(rows.PAGE_TABLES, rows.SECOND_TABLES, rows.KERNEL_STACKS)


def finding(case: OomCase, held_pages: int, certainty: str) -> Finding:
    """Which of them, and of how many processes."""
    tables = case.accounting.pages(rows.PAGE_TABLES, rows.SECOND_TABLES)
    count = len(case.event.processes)
    return Finding(
        claim=f"page tables ({case.size(tables)}) and kernel stacks ({case.size(held_pages - tables)}) hold "
        f"{case.share_words(held_pages)}" + (f", of {count:,} processes" if count else ""),
        pages=held_pages,
        certainty=certainty,
        because=case.evidence("pagetables", "task table", "pages RAM"),
        refuted_by="small PageTables and KernelStack in /proc/meminfo of that moment",
        next="count tasks (pids.max, kernel.threads-max); look for sparse mappings: pgtables_bytes in the task table",
    )
