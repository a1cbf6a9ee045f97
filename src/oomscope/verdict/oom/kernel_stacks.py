"""kernel-stacks-pagetables: many tasks, or large sparse mappings, hold RAM in page tables and kernel stacks."""

from __future__ import annotations

from oomscope.model import oom_analysis as rows
from oomscope.model.oom_event import Process
from oomscope.model.verdict import Finding
from oomscope.units import bytes_text
from oomscope.verdict.oom.case import STACKS_TABLES, OomCase

OOM_CLASS = STACKS_TABLES
_ALONE = 5  # a fifth of all page tables is worth a name


def pages(case: OomCase) -> int:
    """Page tables, those of virtual machines, and kernel stacks."""
    return case.accounting.pages(rows.PAGE_TABLES, rows.SECOND_TABLES, rows.KERNEL_STACKS)


def finding(case: OomCase, held_pages: int, certainty: str) -> Finding:
    """Which of them, and of how many processes."""
    tables = case.accounting.pages(rows.PAGE_TABLES, rows.SECOND_TABLES)
    count = len(case.event.processes)
    most = max(case.event.processes, key=tables_bytes, default=None)
    page_bytes = case.analysis.page_bytes or 4096
    whose = f", of {count:,} processes" if count else ""
    if most is not None and tables_bytes(most, page_bytes) * _ALONE > tables * page_bytes:
        size = bytes_text(tables_bytes(most, page_bytes))
        mapped = most.values.get("total_vm", 0) * page_bytes
        whose = f"; {most.comm} ({most.pid}) alone has {size} of page tables, mapping {bytes_text(mapped)}"
    return Finding(
        claim=f"page tables ({case.size(tables)}) and kernel stacks ({case.size(held_pages - tables)}): "
        f"{case.share_words(held_pages)}{whose}",
        pages=held_pages,
        certainty=certainty,
        because=case.evidence("pagetables", "task table", "pages RAM"),
        refuted_by="small PageTables and KernelStack in /proc/meminfo of that moment",
        next="count tasks (pids.max, kernel.threads-max); look for sparse mappings: pgtables_bytes in the task table",
    )


def tables_bytes(process: Process, page_bytes: int = 4096) -> int:
    """The task table has them in bytes from 4.16 on, before in pages of them (`nr_ptes`)."""
    return process.values.get("pgtables_bytes") or process.values.get("nr_ptes", 0) * page_bytes
