"""One file per input format: what it recognises, and how its bytes become rows. Nothing is added up here."""

from __future__ import annotations

from oomscope.sources.base import Source
from oomscope.sources.cgroupfs.memory import MEMORY_STAT
from oomscope.sources.crash_findings import CrashFindings
from oomscope.sources.debugfs.alloc_traces import ALLOC_TRACES
from oomscope.sources.debugfs.cma import CMA
from oomscope.sources.debugfs.dma_buf import DMA_BUF
from oomscope.sources.debugfs.drm import DRM
from oomscope.sources.debugfs.ion import ION
from oomscope.sources.debugfs.kmemleak import KMEMLEAK
from oomscope.sources.debugfs.percpu_stats import PERCPU_STATS
from oomscope.sources.debugfs.slub_trace import SLUB_TRACE
from oomscope.sources.journal.file import JournalFile
from oomscope.sources.kernel_log.source import KernelLog
from oomscope.sources.manifest import ManifestText
from oomscope.sources.page_owner.dump import PageOwnerText
from oomscope.sources.page_owner.sort_tool import PageOwnerSortText
from oomscope.sources.page_owner.stacks import PageOwnerStacks
from oomscope.sources.procfs.allocinfo import ALLOCINFO
from oomscope.sources.procfs.buddyinfo import BUDDYINFO
from oomscope.sources.procfs.meminfo import MEMINFO
from oomscope.sources.procfs.modules import MODULES
from oomscope.sources.procfs.pagetypeinfo import PAGETYPEINFO
from oomscope.sources.procfs.process_status import PROCESS_STATUS
from oomscope.sources.procfs.slabinfo import SLABINFO
from oomscope.sources.procfs.version import VERSION
from oomscope.sources.procfs.vmallocinfo import VMALLOCINFO
from oomscope.sources.procfs.vmstat import VMSTAT
from oomscope.sources.procfs.zoneinfo import ZONEINFO
from oomscope.sources.sysfs.node_meminfo import NODE_MEMINFO
from oomscope.sources.sysfs.zram import ZRAM
from oomscope.sources.tools.containers import CONTAINERS
from oomscope.sources.tools.crash_kmem import CRASH_KMEM
from oomscope.sources.tools.crash_slab import CRASH_SLAB
from oomscope.sources.tools.dumpsys import DUMPSYS
from oomscope.sources.tools.free import FREE
from oomscope.sources.tools.memleak import MEMLEAK
from oomscope.sources.tools.numastat import NUMASTAT
from oomscope.sources.tools.oomctl import OOMCTL
from oomscope.sources.tools.processes import PROCESSES
from oomscope.sources.tools.ps_mem import PS_MEM
from oomscope.sources.tools.sar import SAR
from oomscope.sources.tools.slabtop import SLABTOP
from oomscope.sources.tools.smem import SMEM
from oomscope.sources.tools.top import TOP
from oomscope.sources.tools.vmstat import VMSTAT_TOOL
from oomscope.sources.tools.zfs import ZFS_KSTAT
from oomscope.sources.tools.zramctl import ZRAMCTL
from oomscope.sources.tracker.text import TrackedText
from oomscope.sources.vmcore import Vmcore

# In the order in which they are asked: the narrower grammar first, kernel logs (which are almost any text) last.
SOURCES: tuple[Source, ...] = (
    Vmcore(),
    JournalFile(),
    PageOwnerSortText(),
    PageOwnerText(),
    TrackedText(),
    CrashFindings(),
    PageOwnerStacks(),
    MEMINFO,
    VERSION,
    SLABINFO,
    VMALLOCINFO,
    ALLOCINFO,
    ALLOC_TRACES,
    KMEMLEAK,
    DMA_BUF,
    ION,
    PERCPU_STATS,
    PAGETYPEINFO,
    BUDDYINFO,
    ZONEINFO,
    VMSTAT,
    MODULES,
    ZRAM,
    FREE,
    SLABTOP,
    CRASH_KMEM,
    CRASH_SLAB,
    PROCESSES,
    PS_MEM,
    PROCESS_STATUS,
    TOP,
    SAR,
    NODE_MEMINFO,
    NUMASTAT,
    CONTAINERS,
    ZRAMCTL,
    DUMPSYS,
    OOMCTL,
    ZFS_KSTAT,
    SLUB_TRACE,
    MEMLEAK,
    DRM,
    CMA,
    SMEM,
    VMSTAT_TOOL,
    MEMORY_STAT,
    ManifestText(),
    KernelLog(),
)

__all__ = ["SOURCES", "Source", "recognise", "source_named"]


def recognise(head: bytes) -> Source | None:
    """The source whose format the beginning of an input is in, None where no source knows it."""
    for source in SOURCES:
        if source.recognises(head):
            return source
    return None


def source_named(format_name: str) -> Source | None:
    """The source of a format that `recognise` has found before."""
    return next((source for source in SOURCES if source.format == format_name), None)
