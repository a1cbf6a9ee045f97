"""What one stack holds, and what one culprit holds over all its stacks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oomscope.model.batch import Place, Request, Task
    from oomscope.model.stack import Stack

KERNEL = "kernel"  # taken from the page allocator by kernel code; in no counter of an OOM report
SLAB = "slab"  # slab caches; the stack says who grew the cache
USER = "user"  # memory of processes
PAGE_CACHE = "page-cache"  # file contents, tmpfs and shared memory included
HUGETLB = "hugetlb"  # pools of huge pages, whether a process uses them or nobody does
LARGE_KMALLOC = "large-kmalloc"  # kmalloc() beyond the largest cache: whole pages, counted as slab
PAGE_TABLES = "page-tables"  # of processes, which the kernel counts (pagetables)
KERNEL_STACKS = "kernel-stacks"  # of threads, which it counts as well (kernel_stack)
BALLOON = "balloon"  # what a driver took for the host: no part of the guest's RAM as long as it lasts
EARLY = "early"  # allocated before page_owner started
UNTRACKED = "untracked"  # allocated, with no stack on record
KINDS = (KERNEL, SLAB, LARGE_KMALLOC, USER, PAGE_CACHE, HUGETLB, PAGE_TABLES, KERNEL_STACKS, BALLOON, EARLY, UNTRACKED)

_KINDS_OF_MEMORY = {USER: "User memory", PAGE_CACHE: "Page cache", HUGETLB: "Huge page pool"}


@dataclass(frozen=True, slots=True)
class Culprit:
    """The frame that answers for holdings: `function` of `module` (None: built in), and its subsystem if known.

    Two are the same if function and module are: whether the subsystem is known depends on the evidence.
    """

    function: str
    module: str | None
    subsystem: str | None = field(compare=False)

    def __str__(self) -> str:
        return self.function if self.module is None else f"{self.function} [{self.module}]"


@dataclass(frozen=True, slots=True)
class Part:
    """One value's part of a holding."""

    pages: int
    blocks: int


@dataclass(frozen=True, slots=True)
class Holding:
    """The pages one stack holds.

    `culprit_is_helper` tells that every frame is a helper or entry code, so that the culprit is a guess. `pages` is
    None where the evidence counts allocations only; `blocks` where it counts pages only. `first_ns` and
    `last_ns` bound the allocation times, nanoseconds since boot, None where none is known. `row` is the stack's index
    in the Counts that the holding comes from.
    """

    stack: Stack
    kind: str
    label: str | None
    culprit: Culprit | None
    culprit_index: int | None
    culprit_is_helper: bool
    pages: int | None
    blocks: int | None
    first_ns: int | None
    last_ns: int | None
    row: int

    @property
    def is_shmem(self) -> bool:
        """Whether it is page cache that no pressure gives back: files of tmpfs, System V segments, shared mappings."""
        return self.kind == PAGE_CACHE and any(f.function.startswith("shmem_") for f in self.stack.frames)

    @property
    def name(self) -> str:
        """Who it is called by: its culprit, else its handle, else what kind of memory it is."""
        if self.culprit is not None:
            return str(self.culprit)
        if not self.stack.frames:
            return f"handle {self.stack.handle}"
        return "tmpfs and shared memory" if self.is_shmem else _KINDS_OF_MEMORY.get(self.kind, self.kind)


@dataclass(frozen=True, slots=True)
class HoldingDetail:
    """How one holding splits; each list has the largest part first. Empty where the evidence does not tell."""

    orders: tuple[tuple[int, Part], ...]
    requests: tuple[tuple[Request, Part], ...]
    tasks: tuple[tuple[Task, Part], ...]
    places: tuple[tuple[Place, Part], ...]
    memcgs: tuple[tuple[str | None, Part], ...]


@dataclass(frozen=True, slots=True)
class CulpritHolding:
    """The holdings of one culprit together: `pages` over `stacks`; `rows` are those that the counts have of them.

    `kinds` is empty where none of its stacks is known.
    """

    culprit: Culprit
    kinds: tuple[str, ...]
    pages: int
    stacks: int
    rows: tuple[int, ...]
    first_ns: int | None
    last_ns: int | None


@dataclass(frozen=True, slots=True)
class Group:
    """One row of a grouping: its name as shown, and what it holds.

    Fields are None as in Holding; `stacks` is None where too many were seen to count. `holding` is the one holding of
    a row that is a single stack.
    """

    name: str
    pages: int | None
    blocks: int | None
    stacks: int | None
    first_ns: int | None
    last_ns: int | None
    holding: Holding | None = None
