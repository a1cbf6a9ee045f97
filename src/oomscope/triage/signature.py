"""What a verdict is called by in a fleet: equal for equal causes, whatever the host, the addresses, the compiler.

The class comes first. Then who holds the memory: of kernel memory the culprit, of slab without stacks the cache, of a
process its name. The request stands in it where it is the cause (no zone, no block, no time for it), and is left out
where it only came last, as anybody's may.
"""

from __future__ import annotations

import re

from oomscope.attribution.culprit import requester
from oomscope.model.holding import KERNEL
from oomscope.model.holding import SLAB as KIND_SLAB
from oomscope.model.oom_event import OomEvent, own_pages
from oomscope.model.triage import NO_REPORT, Signature
from oomscope.model.unknown import Unknown
from oomscope.model.verdict import CulpritRow, Verdict
from oomscope.verdict.oom.case import (
    ATOMIC_RESERVE,
    FRAGMENTATION,
    HIDDEN_KERNEL,
    LOWMEM_ZONE,
    MEMCG_LIMIT,
    NO_SHORTAGE,
    PAGE_CACHE,
    SHMEM,
    SLAB,
    USER_ANON,
    VMALLOC,
    VMALLOC_SPACE,
)
from oomscope.verdict.oom.classification import WANTS_A_NAME, WORTH_NAMING
from oomscope.verdict.oom.hidden_kernel import COUNTED

NOBODY = "?"  # code without symbols: its address says nothing elsewhere
_REQUEST_IS_THE_CAUSE = (FRAGMENTATION, ATOMIC_RESERVE, LOWMEM_ZONE, NO_SHORTAGE, VMALLOC_SPACE)
_OF_PROCESSES = (USER_ANON, MEMCG_LIMIT, SHMEM, PAGE_CACHE)
_NUMBER = re.compile(r"\d+")
_OF_CGROUP = re.compile(r"(?<!\()\([^\n]{0,250}\)$")
_DRAWN = re.compile(r"^kmalloc-rnd-\d+-")
_KMALLOC = re.compile(r"^((?:dma-|kmalloc-)(?:[a-z]+-)*)(\d+)$")
_KIB = 1024
_ADDRESS = re.compile(r"(?:0x)?[0-9a-f]{8,16}")


def signature(verdict: Verdict) -> Signature:
    """The signature of a verdict."""
    oom_class = NO_REPORT if verdict.oom is None else verdict.oom.oom_class
    event = None if verdict.oom is None or verdict.oom.analysis is None else verdict.oom.analysis.event
    row = named(verdict)
    culprit, module = "", ""
    if row is not None:
        culprit, module = without_address(row.culprit.function), row.culprit.module or ""
    elif (site := call_site(verdict)) is not None:
        culprit, module, _ = site
    elif event is not None and oom_class == SLAB and event.slab_caches:
        culprit = _cache_name(max(event.slab_caches, key=lambda cache: cache.total_kib).name)
    elif event is not None and oom_class in _OF_PROCESSES:
        culprit = _greatest_process(event)
    elif event is None and verdict.greatest is not None:
        culprit = f"({verdict.greatest.holding.kind})"
    trigger = "" if event is None or oom_class not in _REQUEST_IS_THE_CAUSE else _trigger(event)
    return Signature(oom_class, culprit, module, trigger)


def named(verdict: Verdict) -> CulpritRow | None:
    """The culprit that answers for the case: the first one, where kernel memory is what the case is about.

    With a report, its class says which kind of memory that is, and the culprit holds a part of RAM worth naming;
    without one, no process or file holds more.
    """
    if not verdict.culprits:
        return None
    oom = verdict.oom
    if oom is not None and oom.analysis is not None:
        kind = KIND_SLAB if oom.oom_class == SLAB else KERNEL
        rows = (row for row in verdict.culprits if kind in row.kinds and (row.share_of_ram or 0) >= WORTH_NAMING)
        return next(rows, None) if oom.oom_class in WANTS_A_NAME else None
    row, greatest = verdict.culprits[0], verdict.greatest
    return None if greatest is not None and greatest.holding.culprit is None and greatest.pages > row.pages else row


def call_site(verdict: Verdict) -> tuple[str, str, int] | None:
    """The function that the report's own allocation profiling says took the memory without a name; module, pages.

    Only a site that holds a part of RAM worth naming; slab and user memory, which the report counts, are none.
    """
    oom, page_bytes = verdict.oom, verdict.kernel.page_size_bytes
    event = None if oom is None or oom.analysis is None else oom.analysis.event
    if oom is None or event is None or oom.oom_class not in (HIDDEN_KERNEL, VMALLOC) or not verdict.ram_pages:
        return None
    if isinstance(page_bytes, Unknown):  # bytes cannot be held against pages
        return None
    least_bytes = WORTH_NAMING * verdict.ram_pages * page_bytes
    sites = [site for site in event.call_sites if not any(word in site.function for word in COUNTED)]
    greatest = max(sites, key=lambda site: site.size_bytes, default=None)
    if greatest is None or greatest.size_bytes < least_bytes:
        return None
    return greatest.function.removesuffix("_noprof"), greatest.module or "", greatest.size_bytes // page_bytes


def without_address(function: str) -> str:
    """A function's name, or a mark for code that has none."""
    return NOBODY if _ADDRESS.fullmatch(function) else function


def _cache_name(name: str) -> str:
    """Without the cgroup that it is of, and the number that kmalloc draws anew at each boot (RANDOM_KMALLOC_CACHES).

    Caches of kmalloc were called by bytes before 4.20 (kmalloc-2048), since then by units (kmalloc-2k).
    """
    name = _DRAWN.sub("kmalloc-", _OF_CGROUP.sub("", name))
    by_bytes = _KMALLOC.match(name)
    if by_bytes is None or int(by_bytes[2]) % _KIB:
        return name
    kib = int(by_bytes[2]) // _KIB
    return by_bytes[1] + (f"{kib}k" if kib < _KIB else f"{kib // _KIB}M")


def _greatest_process(event: OomEvent) -> str:
    """The process with most memory of its own, else the victim; numbers in its name tell instances apart."""
    most = max(event.processes, key=own_pages, default=None)
    if most is not None:
        return _NUMBER.sub("N", most.comm)
    return _NUMBER.sub("N", event.victims[0].comm) if event.victims else ""


def _trigger(event: OomEvent) -> str:
    """`order-4 GFP_KERNEL by create_buffer [driver]`, as far as it is told."""
    asked = event.asked
    order = "" if asked.order is None else "SysRq-f" if asked.order < 0 else f"order-{asked.order}"
    flags = [flag for flag in asked.gfp_flags if flag.startswith("GFP_")]
    who = requester(asked.stack)
    by = "" if who is None else f"by {without_address(who.function)}" + (f" [{who.module}]" if who.module else "")
    return " ".join(part for part in (order, "|".join(flags), by) if part)
