"""One OOM event as the kernel log tells it: the report's own numbers, each with the line it stands on.

Counts named `_pages` are base pages, `_kib` KiB, as printed. What the report does not tell is None, an empty tuple or a
missing key; what it tells in numbers that cannot be (beyond 63 bits) is left out and kept as text in `distrusted`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# How the event ended, as far as the log shows it.
KILL, PANIC, MEMCG_KILL, FAILURE, VMALLOC_FAILURE, SLAB_FAILURE, CMA_FAILURE, SHOWN, FOREIGN = (
    "OOM kill",
    "OOM panic",
    "memcg OOM",
    "page allocation failure",
    "vmalloc failure",
    "slab allocation failure",
    "CMA allocation failure",
    "show-mem",
    "not the kernel's OOM killer",
)


# Of memory.stat: what it says of memory that was swapped out, and limits.
NOT_IN_RAM = ("zswapped", "swap", "swapcached", "total_swap", "hierarchical_memory_limit", "hierarchical_memsw_limit")


@dataclass(frozen=True, slots=True)
class Asked:
    """The request that could not be met. `order` is -1 for an OOM that an administrator asked for (SysRq-f)."""

    comm: str | None = None
    pid: int | None = None
    order: int | None = None
    gfp_mask: int | None = None
    gfp_flags: tuple[str, ...] = ()
    size_bytes: int | None = None  # of a vmalloc request, or of another that went by no page order
    stack: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FreeBlocks:
    """`count` free blocks of `size_kib` each; `types` are the letters of their free lists, None where none are told."""

    count: int
    size_kib: int
    types: str | None


@dataclass(frozen=True, slots=True)
class Zone:
    """A zone's line: `kib` has its fields by their printed names (`free`, `min`, `managed`, ...).

    `lowmem_reserve_pages[i]` is held back from requests that zone i could serve. `blocks` are its free lists, None
    where their line is missing.
    """

    node: int | None
    name: str
    kib: Mapping[str, int]
    line: int
    lowmem_reserve_pages: tuple[int, ...] = ()
    blocks: tuple[FreeBlocks, ...] | None = None

    @property
    def title(self) -> str:
        """The zone as the kernel names it: `Node 0 Normal`."""
        return self.name if self.node is None else f"Node {self.node} {self.name}"


@dataclass(frozen=True, slots=True)
class Node:
    """A NUMA node's line, in the fields' printed names."""

    node: int
    kib: Mapping[str, int]
    line: int


@dataclass(frozen=True, slots=True)
class HugePages:
    """The pool of one size on one node; surplus pages are among `total`."""

    node: int | None
    total: int
    free: int
    size_kib: int
    line: int


@dataclass(frozen=True, slots=True)
class SlabCache:
    """A row of `Unreclaimable slab info:`."""

    name: str
    used_kib: int
    total_kib: int
    line: int


@dataclass(frozen=True, slots=True)
class CallSite:
    """A row of `Memory allocations:`; slab pages count at alloc_slab_page, their objects at their callers too."""

    size_bytes: int
    calls: int
    place: str
    module: str | None
    function: str
    line: int


@dataclass(frozen=True, slots=True)
class Process:
    """A row of the task table: `values` by the table's own column names; in pages but for `pgtables_bytes`."""

    pid: int
    comm: str
    values: Mapping[str, int]
    line: int

    def pages(self, column: str) -> int | None:
        """A column in pages."""
        return self.values.get(column)


_UNLIMITED_KIB = 1 << 42


def own_pages(process: Process) -> int:
    """rss_anon where the table tells it (6.8 and later), else rss, which counts shared pages too."""
    value = process.values.get("rss_anon")
    return process.values.get("rss", 0) if value is None else value


@dataclass(frozen=True, slots=True)
class Victim:
    """A process that was killed: `kib` has total-vm, anon-rss, file-rss, shmem-rss as far as they are told.

    `is_announced` tells that only the choice was printed ("Kill process N or sacrifice child"): the kernel may have
    killed a child of it instead (mm/oom_kill.c oom_kill_process() up to 4.18).
    """

    pid: int
    comm: str
    kib: Mapping[str, int]
    score: int | None
    line: int
    is_announced: bool = False


@dataclass(frozen=True, slots=True)
class Killer:
    """A killer in user space: its name, and its own word on why."""

    name: str
    reason: str | None
    line: int


@dataclass(frozen=True, slots=True)
class SlabRequest:
    """What `SLUB: Unable to allocate memory` says of the cache; `group` is the memory cgroup in its name, if any.

    `slabs` and `objects` are those of all nodes. A slab has `order`; where memory was short when it was made, as little
    as `least_order`.
    """

    cache: str
    group: str | None
    object_bytes: int | None
    order: int | None
    line: int
    least_order: int | None = None
    slabs: int = 0
    objects: int = 0

    @property
    def most_pages(self) -> int:
        """What the cache has, in pages, at most."""
        return self.slabs << (self.order or 0)


@dataclass(frozen=True, slots=True)
class CmaRequest:
    """What cma_alloc() says of a request that failed, in pages; `error` is the kernel's -errno.

    `buffers_kib` is what a graphics driver says of its own buffers, by its words (`size bos allocated`).
    """

    pool: str | None
    asked_pages: int | None
    error: int | None
    free_pages: int | None
    total_pages: int | None
    line: int
    buffers_kib: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Memcg:
    """The memory cgroup at its limit.

    `reached` says which of its limits (`memory`, `memory+swap`, `kmem`), the numbers are of that one. `stat` is what of
    memory.stat is in bytes, of all groups below it together; `counts` are its counts of events. `is_v1` tells that the
    kernel printed what only cgroup v1 has. `pressure_percent` is how much of the last minute `some` or all (`full`) of
    its tasks waited for memory.
    """

    path: str | None
    reached: str
    usage_kib: int | None
    limit_kib: int | None
    failcnt: int | None
    stat: Mapping[str, int] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    line: int | None = None
    is_v1: bool = False
    pressure_percent: Mapping[str, float] = field(default_factory=dict)

    @property
    def bound_kib(self) -> int | None:
        """The limit, None where there is none: the kernel prints PAGE_COUNTER_MAX for that."""
        return None if self.limit_kib is None or self.limit_kib > _UNLIMITED_KIB else self.limit_kib


@dataclass(frozen=True, slots=True)
class OomEvent:
    """All that the log tells of one event.

    `counters` are the global ones of Mem-Info, in pages, by their printed names; `totals` the lines of one number
    (`pages RAM`, `pages reserved`, `swap free kib`, ...). `arch` is told by its registers. `constraint` is the kernel's
    CONSTRAINT_ name. `lines` maps a printed name to the line of the input it stands on, `texts` keeps those lines.
    `first_line` and `last_line` bound the event; `unknown` are lines between them that are of no known form.
    `left_out` counts rows beyond a bound, `cut` says which parts begin and do not end. `boot` counts the boots that the
    log tells of before this event. `killer` is who killed where it was not the kernel, `host` as the log names
    the machine.
    """

    kind: str
    asked: Asked
    at_ns: int | None
    stamp: str | None
    release: str | None
    arch: str | None
    constraint: str | None
    mems_allowed: str | None
    panic_message: str | None
    counters: Mapping[str, int]
    nodes: tuple[Node, ...]
    zones: tuple[Zone, ...]
    huge_pages: tuple[HugePages, ...]
    totals: Mapping[str, int]
    page_kib: int | None
    slab_caches: tuple[SlabCache, ...]
    call_sites: tuple[CallSite, ...]
    processes: tuple[Process, ...]
    victims: tuple[Victim, ...]
    memcg: Memcg | None
    slab_request: SlabRequest | None
    cma_request: CmaRequest | None
    remarks: tuple[str, ...]
    lines: Mapping[str, int]
    texts: Mapping[int, str]
    first_line: int
    last_line: int
    unknown: tuple[tuple[int, str], ...]
    unknown_count: int
    distrusted: tuple[str, ...]
    left_out: Mapping[str, int]
    cut: tuple[str, ...]
    boot: int = 0
    killer: Killer | None = None
    host: str | None = None

    @property
    def has_counters(self) -> bool:
        """Whether Mem-Info's global counters are there: without them there is no balance."""
        return "free" in self.counters

    @property
    def is_confined(self) -> bool:
        """Whether a cpuset, a memory policy or a nodemask kept the request to some nodes: only these are shown then.

        The kernel's own word decides (mm/oom_kill.c constrained_alloc()): every container has a cpuset of its own name,
        and most of them allow all nodes.
        """
        if self.constraint is not None:
            return self.constraint in ("CONSTRAINT_CPUSET", "CONSTRAINT_MEMORY_POLICY")
        return "confined" in self.remarks
