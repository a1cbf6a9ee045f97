"""What a file of the kernel's own bookkeeping says of who holds memory: one row a holder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oomscope.model.stack import Stack

PAGES, BYTES = "pages", "bytes"
SLAB_CACHE, VMALLOC_CALLER, CALL_SITE = "slab cache", "vmalloc caller", "call site"
UNREFERENCED, DMA_BUFFER, ZRAM_DISK = "unreferenced object", "dma-buf exporter", "zram disk"
PER_CPU, MODULE = "per-cpu memory", "module"
ADDRESS_SPACE = "vmalloc address space"
GRAPHICS, PROCESS, PART_OF_RAM = "graphics buffers", "process", "part of RAM"
COUNTER, CMA_POOL = "counter", "CMA pool"
OUTSTANDING, CONTROL_GROUP, HUGE_PAGES, ZFS = "outstanding allocation", "control group", "huge pages", "ZFS"
PROPORTIONAL = "process (Pss)"
# Parts of RAM that nobody holds, or nobody is known to hold.
FREE_RAM, CACHED_RAM, LOST_RAM = "free", "page cache that can be freed", "lost RAM (not counted)"
KERNEL_RAM, USER_RAM = "kernel memory that is no page cache", "process memory that is no page cache"
# What several of a kind are called, in the order in which they are shown.
KINDS = {
    SLAB_CACHE: "Slab caches",
    UNREFERENCED: "Unreferenced objects (kmemleak)",
    OUTSTANDING: "Outstanding allocations (memleak)",
    CALL_SITE: "Call sites",
    VMALLOC_CALLER: "Callers of vmalloc",
    ADDRESS_SPACE: "Address space of vmalloc without pages of its own, by caller",
    DMA_BUFFER: "DMA buffers, by exporter",
    ZRAM_DISK: "Compressed disks (zram)",
    PER_CPU: "Per-cpu memory in use, for each CPU",
    GRAPHICS: "Graphics buffers; one may be in several rows",
    ZFS: "ZFS' own memory, which no counter of the kernel has",
    HUGE_PAGES: "Huge pages of the pools",
    CONTROL_GROUP: "Control groups",
    PART_OF_RAM: "Parts of RAM, as they were added up",
    COUNTER: "Counters that hold memory; how much RAM there is was not given",
    CMA_POOL: "Contiguous memory (CMA) in use",
    PROCESS: "Processes by name, resident memory; shared pages count in each",
    PROPORTIONAL: "Processes by name, proportional (Pss): shared pages are divided among those who have them",
    MODULE: "Modules",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One holder: its `amount` in the account's unit, in so many pieces.

    `place` is a source line or the like, `stack` who allocated, where the file tells that.
    """

    name: str
    amount: int
    count: int
    module: str | None = None
    place: str = ""
    stack: Stack | None = None

    def __str__(self) -> str:
        return self.name if self.module is None else f"{self.name} [{self.module}]"


@dataclass(frozen=True, slots=True)
class Account:
    """The rows of one file, largest first.

    `kind` says what a row is, `unit` what amounts are in (pages or bytes), `counted` what pieces are called.
    """

    kind: str
    unit: str
    counted: str
    entries: tuple[Entry, ...]

    @property
    def total(self) -> int:
        """All amounts together. Call sites count slab pages twice: as pages, and as the objects in them."""
        return sum(entry.amount for entry in self.entries)


def account(kind: str, unit: str, counted: str, entries: list[Entry]) -> tuple[Account, ...]:
    """The account of these rows, those that hold nothing left out; none where there are no rows."""
    ranked = tuple(sorted((entry for entry in entries if entry.amount), key=lambda entry: -entry.amount))
    return (Account(kind, unit, counted, ranked),) if ranked else ()
