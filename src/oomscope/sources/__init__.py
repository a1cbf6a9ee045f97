"""One file per input format: what it recognises, and how its bytes become rows. Nothing is added up here."""

from __future__ import annotations

from oomscope.sources.alloc_traces import AllocTracesText
from oomscope.sources.allocinfo import AllocinfoText
from oomscope.sources.base import Parser, Source
from oomscope.sources.buddyinfo import BuddyinfoText
from oomscope.sources.console_log import ConsoleLog
from oomscope.sources.dma_buf import DmaBufText
from oomscope.sources.kernel_memory import KernelMemory
from oomscope.sources.kmemleak import KmemleakText
from oomscope.sources.manifest import ManifestText
from oomscope.sources.meminfo import MeminfoText
from oomscope.sources.modules import ModulesText
from oomscope.sources.page_owner import PageOwnerText
from oomscope.sources.page_owner_sort import PageOwnerSortText
from oomscope.sources.page_owner_stacks import PageOwnerStacks
from oomscope.sources.pagetypeinfo import PagetypeinfoText
from oomscope.sources.percpu_stats import PercpuStatsText
from oomscope.sources.slabinfo import SlabinfoText
from oomscope.sources.version import VersionText
from oomscope.sources.vmallocinfo import VmallocinfoText
from oomscope.sources.vmstat import VmstatText
from oomscope.sources.zoneinfo import ZoneinfoText
from oomscope.sources.zram import ZramText

# In the order in which they are asked: the narrower grammar first, kernel logs (which are almost any text) last.
SOURCES: tuple[Source, ...] = (
    KernelMemory(),
    PageOwnerSortText(),
    PageOwnerText(),
    PageOwnerStacks(),
    MeminfoText(),
    VersionText(),
    SlabinfoText(),
    VmallocinfoText(),
    AllocinfoText(),
    AllocTracesText(),
    KmemleakText(),
    DmaBufText(),
    PercpuStatsText(),
    PagetypeinfoText(),
    BuddyinfoText(),
    ZoneinfoText(),
    VmstatText(),
    ModulesText(),
    ZramText(),
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
