"""One file per input format: what it recognises, and how its bytes become rows. Nothing is added up here."""

from __future__ import annotations

from oomscope.sources.alloc_traces import ALLOC_TRACES
from oomscope.sources.allocinfo import ALLOCINFO
from oomscope.sources.base import Parser, Source
from oomscope.sources.buddyinfo import BUDDYINFO
from oomscope.sources.console_log import ConsoleLog
from oomscope.sources.dma_buf import DMA_BUF
from oomscope.sources.kernel_memory import KernelMemory
from oomscope.sources.kmemleak import KmemleakText
from oomscope.sources.manifest import ManifestText
from oomscope.sources.meminfo import MEMINFO
from oomscope.sources.modules import MODULES
from oomscope.sources.page_owner import PageOwnerText
from oomscope.sources.page_owner_sort import PageOwnerSortText
from oomscope.sources.page_owner_stacks import PageOwnerStacks
from oomscope.sources.pagetypeinfo import PAGETYPEINFO
from oomscope.sources.percpu_stats import PERCPU_STATS
from oomscope.sources.slabinfo import SLABINFO
from oomscope.sources.tracked_text import TrackedText
from oomscope.sources.version import VERSION
from oomscope.sources.vmallocinfo import VMALLOCINFO
from oomscope.sources.vmstat import VMSTAT
from oomscope.sources.zoneinfo import ZONEINFO
from oomscope.sources.zram import ZRAM

# In the order in which they are asked: the narrower grammar first, kernel logs (which are almost any text) last.
SOURCES: tuple[Source, ...] = (
    KernelMemory(),
    PageOwnerSortText(),
    PageOwnerText(),
    TrackedText(),
    PageOwnerStacks(),
    MEMINFO,
    VERSION,
    SLABINFO,
    VMALLOCINFO,
    ALLOCINFO,
    ALLOC_TRACES,
    KmemleakText(),
    DMA_BUF,
    PERCPU_STATS,
    PAGETYPEINFO,
    BUDDYINFO,
    ZONEINFO,
    VMSTAT,
    MODULES,
    ZRAM,
    ManifestText(),
    ConsoleLog(),
)

__all__ = ["SOURCES", "Parser", "Source", "recognise"]


def recognise(head: bytes) -> Source | None:
    """The source whose format the beginning of an input is in, None where no source knows it."""
    for source in SOURCES:
        if source.recognises(head):
            return source
    return None
