"""What every page frame is used for: the kinds, how frames travel, and the sums."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from oomscope.numeric import np

if TYPE_CHECKING:
    import numpy.typing as npt

    from oomscope.model.batch import Tables
    from oomscope.model.stack import Stack

# In the order of their codes. The names are the rows of the balance.
USES = (
    "unread",  # the frame's struct page is not in the dump
    "reserved",  # never the page allocator's: kernel image, boot memory, holes; no part of RAM
    "free",
    "per-cpu lists",  # free, but set aside for one CPU
    "slab",
    "anon",
    "shmem",
    "file",
    "hugetlb",
    "page tables",
    "kernel stacks",
    "vmalloc",
    "per-cpu areas",
    "page_ext",
    "memmap",
    "cma",
    "zsmalloc",
    "page pools",
    "offline",  # given back to a hypervisor by a balloon
    "kernel",  # taken from the page allocator and counted nowhere
)
UNREAD, RESERVED, FREE, PER_CPU_LISTS, SLAB, ANON, SHMEM, FILE, HUGETLB, PAGE_TABLES = range(10)
KERNEL_STACKS, VMALLOC, PER_CPU_AREAS, PAGE_EXT, MEMMAP, CMA, ZSMALLOC, PAGE_POOLS, OFFLINE, KERNEL = range(10, 20)
NO_PART = -1


@dataclass(slots=True)
class Parts:
    """Names within a use: the cache of a slab page, the caller of a vmalloc area. They only grow."""

    names: list[str] = field(default_factory=list)
    index: dict[str, int] = field(default_factory=dict)

    def of(self, name: str) -> int:
        """The index of a name."""
        if name not in self.index:
            self.index[name] = len(self.names)
            self.names.append(name)
        return self.index[name]


@dataclass(frozen=True, slots=True)
class PageFrames:
    """Some page frames, an entry each: the use (index into USES), the part (into `parts`, or NO_PART), and the stack.

    `stack` is an index into `tables.stacks`, -1 where no owner is on record; None where page_owner does not run.
    `since_boot` says that owners were recorded from the beginning, as page_owner does: a page in use has one.
    """

    tables: Tables
    parts: Parts
    use: npt.NDArray[np.uint8]
    part: npt.NDArray[np.int32]
    stack: npt.NDArray[np.int64] | None
    since_boot: bool = True


@dataclass(frozen=True, slots=True)
class Census:
    """Page frames per use, per named part of it, and, of the frames in use `kernel`, per stack (None: no page_owner).

    `slab_stacks` are slab frames per cache and stack (None: no owner on record), empty without page_owner. `counters`
    are the kernel's own, by the names of its enums. `contradictions` are frames that are free by struct page and
    allocated by page_owner: none, unless the dump is damaged or was read from a running kernel. `free_early_pages` are
    the harmless ones among such frames: when page_owner starts, up to 6.1, it takes pages on per-cpu lists for
    allocated ones (mm/page_owner.c init_pages_in_zone()). `unowned_pages` are in use and have no owner on record,
    though page_owner runs: none in a sound dump, unless something takes pages behind page_owner's back (huge pages that
    were set aside at boot do, and are left out).
    """

    pages: Mapping[str, int]
    parts: Mapping[str, Mapping[str, int]]
    kernel_stacks: Mapping[Stack | None, int] | None
    slab_stacks: Mapping[str, Mapping[Stack | None, int]]
    counters: Mapping[str, int]
    contradictions: int
    free_early_pages: int
    unowned_pages: int
