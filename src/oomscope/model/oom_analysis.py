"""An OOM event added up: the request, the zones held against it, and every page of RAM in a row."""

from __future__ import annotations

from dataclasses import dataclass

from oomscope.model.balance import BalanceRow
from oomscope.model.oom_event import OomEvent, Process, Zone

# The balance's own names, in the order in which they are shown.
FREE, PCP, ANON, SHMEM, FILE, UNEVICTABLE, ISOLATED = (
    "free",
    "per-cpu free lists",
    "anon",
    "shmem",
    "page cache",
    "unevictable",
    "isolated",
)
# Up to 2.6.27 one pair of lists has process memory and page cache together, up to 2.6.31 slab is one count.
LRU, SLAB = "process memory and page cache", "slab"
SWAP_CACHE = "swap cache"  # where the lists are lost
ISOLATED_ANON, ISOLATED_FILE = "anon", "file"  # the parts of that row
SLAB_RECLAIMABLE, SLAB_UNRECLAIMABLE, MISC = "slab, reclaimable", "slab, unreclaimable", "kernel, reclaimable"
PAGE_TABLES, SECOND_TABLES, KERNEL_STACKS = "page tables", "secondary page tables", "kernel stacks"
BOUNCE, HUGETLB, ZSPAGES, GPU, WRITEBACK_TMP = "bounce buffers", "hugetlb", "zspages", "GPU", "writeback copies"


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """What a request may do. None where the log does not tell.

    `highest_zone` is the last zone in the kernel's order (DMA, DMA32, Normal, HighMem, Movable) that may serve it;
    `zone_from` says how that is known where the request's own flags do not tell it.
    `may_wait` tells whether it may reclaim memory itself; `why_not` says what forbids it. `by_order` is set for kernels
    before 4.4, whose watermarks take smaller blocks off order by order. `min_eighths` of 8 is the part of `min` that
    binds it; `ignores_boost` that a boosted watermark does not, `uses_highatomic` that what is set aside for atomic
    requests counts as free for it.
    """

    order: int | None
    pages: int | None
    highest_zone: str | None
    is_movable: bool
    may_wait: bool | None
    why_not: str
    by_order: bool
    min_eighths: int
    ignores_boost: bool = False
    uses_highatomic: bool = False
    zone_from: str = ""


@dataclass(frozen=True, slots=True)
class ZoneCheck:
    """One zone held against the request (mm/page_alloc.c __zone_watermark_ok()), in pages.

    `usable_pages` are free and may serve it (CMA and highatomic blocks left out, `cma_pages` and `highatomic_pages` say
    how much); `needed_pages` is the watermark `min`
    with what lowmem_reserve holds back. `passes` tells whether a single page could be had, `has_block` whether a block
    of the request's order could; None where the lines that tell are missing.
    """

    zone: Zone
    is_allowed: bool
    free_pages: int | None
    usable_pages: int | None
    needed_pages: int | None
    passes: bool | None
    is_above_high: bool | None
    has_block: bool | None
    fitting_blocks: int | None
    managed_pages: int | None
    cma_pages: int = 0
    highatomic_pages: int = 0
    reserve_pages: int = 0
    boost_pages: int = 0


@dataclass(frozen=True, slots=True)
class Accounting:
    """Every page of managed RAM in a row, as the report tells it.

    `ram_pages` is `pages RAM` minus `pages reserved`, else what `ram_from` says; None where nothing tells.
    `unexplained_pages` is None without RAM, and where a row is missing whose counter this kernel prints.
    `reclaimable_pages` could be given back without killing anybody: page cache that is not shmem, reclaimable slab, and
    anonymous memory as far as swap has room. `bounds` are rows whose amount is a bound, with the reason; `problems`
    contradictions. `is_whole` tells that every line of the global counters was there, `is_of_zones` that they are lost
    and `ram_pages` are those of the zones that the log shows.
    """

    rows: tuple[BalanceRow, ...]
    ram_pages: int | None
    reserved_pages: int | None
    ram_from: str
    unexplained_pages: int | None
    reclaimable_pages: int
    swap_free_pages: int | None
    swap_total_pages: int | None
    bounds: tuple[tuple[str, str], ...]
    problems: tuple[str, ...]
    hidden_zone_pages: int
    hidden_free_pages: int
    is_whole: bool
    is_of_zones: bool = False

    def pages(self, *kinds: str) -> int:
        """The pages of some rows; a row that is missing has none."""
        return sum(row.pages for row in self.rows if row.kind in kinds)

    def isolated_pages(self, part: str) -> int:
        """Pages taken off the lists for reclaim or migration: of processes, or of files."""
        return sum(pages for row in self.rows if row.kind == ISOLATED for name, pages in row.parts if name == part)


@dataclass(frozen=True, slots=True)
class Area:
    """A zone or a node by itself: its managed pages, its rows, and what is neither free nor on its lists."""

    title: str
    managed_pages: int | None
    rows: tuple[BalanceRow, ...]
    rest_pages: int | None


@dataclass(frozen=True, slots=True)
class Score:
    """What the OOM killer thinks of a process: `points` are pages, `per_mille` thousandths of what there is.

    `is_unkillable` with oom_score_adj -1000.
    """

    process: Process
    points: int
    per_mille: int
    is_unkillable: bool


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """Processes of one name: what they hold together, in pages, and the largest of them."""

    comm: str
    count: int
    pages: int
    swap_pages: int
    largest: Process
    counts_shared: bool


@dataclass(frozen=True, slots=True)
class OomAnalysis:
    """The event and all that was worked out from its numbers.

    `is_served` tells whether the allocator would have served the request from `zones` as they stood; None where the log
    does not show what decides. `process_groups` are the processes by name, the greatest first.
    """

    event: OomEvent
    request: RequestFacts
    zones: tuple[ZoneCheck, ...]
    is_served: bool | None
    accounting: Accounting
    areas: tuple[Area, ...]
    page_bytes: int | None
    scores: tuple[Score, ...] = ()
    process_groups: tuple[ProcessGroup, ...] = ()
