"""shmem: tmpfs files and shared memory, which only swap can take away."""

from __future__ import annotations

from oomscope.model import oom_analysis as rows
from oomscope.model.verdict import Finding
from oomscope.verdict.oom.case import SHMEM, OomCase

OOM_CLASS = SHMEM


def pages(case: OomCase) -> int:
    """Pages of tmpfs, shared anonymous mappings, System V shared memory and many graphics drivers."""
    return case.accounting.pages(rows.SHMEM)


def finding(case: OomCase, held_pages: int, certainty: str) -> Finding:
    """How much, and why killing may not help."""
    return Finding(
        claim=f"tmpfs and shared memory: {case.size(held_pages)}, {case.share_words(held_pages)}; a kill frees "
        "none of it as long as the files stay",
        pages=held_pages,
        certainty=certainty,
        because=case.evidence("shmem", "active_anon", "pages RAM"),
        refuted_by="a small Shmem in /proc/meminfo of that moment",
        next="df -t tmpfs -t ramfs; ipcs -m; graphics objects count here too: /sys/kernel/debug/dri/*/gem_names",
    )
