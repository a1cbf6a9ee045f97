"""The question of the 2020 study: does the report explain a case by itself, or does that take page owner data."""

from __future__ import annotations

from oomscope.model.account import (
    BYTES,
    CALL_SITE,
    DMA_BUFFER,
    PAGES,
    PER_CPU,
    SLAB_CACHE,
    UNREFERENCED,
    VMALLOC_CALLER,
    ZRAM_DISK,
)
from oomscope.model.triage import BY_REPORT, BY_STACKS, LACKING, UNDETERMINED
from oomscope.model.unknown import Unknown
from oomscope.model.verdict import POSSIBLE, Verdict
from oomscope.triage.signature import named
from oomscope.verdict.oom.case import HIDDEN_KERNEL, SLAB, VMALLOC
from oomscope.verdict.oom.case import UNDETERMINED as NO_CLASS
from oomscope.verdict.oom.classification import WANTS_A_NAME

# Which files say who holds the memory of a class.
_ACCOUNTS_FOR = {
    SLAB: (SLAB_CACHE, CALL_SITE, UNREFERENCED),
    VMALLOC: (VMALLOC_CALLER, CALL_SITE),
    HIDDEN_KERNEL: (CALL_SITE, VMALLOC_CALLER, DMA_BUFFER, ZRAM_DISK, PER_CPU),
}


def answered_by(verdict: Verdict) -> str:
    """Which of model.fleet.ANSWERS it is.

    A report explains what it counts: a class whose holder it names, slab with its table of caches among them. Memory
    that it does not name takes stacks: page_owner, tracked pages, at-panic lines, a core dump.
    """
    if named(verdict) is not None:
        return BY_STACKS
    oom = verdict.oom
    if oom is None:
        return BY_STACKS if verdict.consumers else UNDETERMINED
    if oom.oom_class in WANTS_A_NAME:
        return BY_REPORT if _names_it(verdict) else LACKING
    return UNDETERMINED if oom.oom_class == NO_CLASS or oom.certainty in (None, POSSIBLE) else BY_REPORT


def _names_it(verdict: Verdict) -> bool:
    """Whether the kernel's own accounts name who holds most of such memory: caches, call sites, areas of vmalloc."""
    oom = verdict.oom
    assert oom is not None
    event = None if oom.analysis is None else oom.analysis.event
    if oom.oom_class == SLAB and event is not None and event.slab_caches:
        return True
    page_bytes = verdict.kernel.page_size_bytes
    accounts = [(told.total, told.unit) for told in verdict.accounts if told.kind in _ACCOUNTS_FOR[oom.oom_class]]
    if event is not None:
        accounts.append((sum(site.size_bytes for site in event.call_sites), BYTES))
    if isinstance(page_bytes, Unknown):  # bytes cannot be held against pages
        accounts = [(amount, unit) for amount, unit in accounts if unit == PAGES]
        page_bytes = 1
    wanted_pages = verdict.findings[0].pages if verdict.findings else None
    if wanted_pages is None:
        return False
    named_pages = [amount if unit == PAGES else amount / page_bytes for amount, unit in accounts]
    return max(named_pages, default=0) >= wanted_pages / 2
