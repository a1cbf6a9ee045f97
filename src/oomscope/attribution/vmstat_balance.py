"""Every page of RAM in one row, from the counters of a living machine: /proc/vmstat, /proc/zoneinfo, /proc/meminfo."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from oomscope.attribution.side_accounts import SideAccounts
from oomscope.model import oom_analysis as rows
from oomscope.model.balance import Balance, BalanceRow
from oomscope.model.reading import Meminfo, Reading

PER_CPU_MEMORY = "per-cpu memory"
_MORE_THAN_ALL = 2  # times RAM: no counter, but a bug of what printed it
_NEAR = 0.1  # of them
_HUGE_PAGES = 512  # of the usual size
_FREE, _HUGE_ANON = "nr_free_pages", "nr_anon_transparent_hugepages"
_OF_ONE_MOMENT = 0.05  # of RAM: what /proc/meminfo and /proc/vmstat may differ by
_IN_KIB = ("nr_kernel_stack", "nr_shadow_call_stack")
# A row, its counters in pages and those of /proc/meminfo in kB; what begins with - is a part of what stands before it.
_ROWS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    (rows.FREE, (_FREE,), ("MemFree",)),
    (rows.PCP, ("free_pcp",), ()),
    (rows.ANON, ("nr_anon_pages",), ("AnonPages",)),
    (rows.SHMEM, ("nr_shmem",), ("Shmem",)),
    (rows.FILE, ("nr_file_pages", "-nr_shmem", "-nr_swapcached"), ("Cached", "Buffers", "-Shmem")),
    (rows.WRITEBACK_TMP, ("nr_writeback_temp",), ("WritebackTmp",)),
    (rows.SLAB_RECLAIMABLE, ("nr_slab_reclaimable",), ("SReclaimable",)),
    (rows.SLAB_UNRECLAIMABLE, ("nr_slab_unreclaimable",), ("SUnreclaim",)),
    (rows.MISC, ("nr_kernel_misc_reclaimable",), ("KReclaimable", "-SReclaimable")),
    (rows.PAGE_TABLES, ("nr_page_table_pages",), ("PageTables",)),
    (rows.SECOND_TABLES, ("nr_sec_page_table_pages",), ("SecPageTables",)),
    (rows.KERNEL_STACKS, ("nr_kernel_stack",), ("KernelStack",)),
    (rows.BOUNCE, ("nr_bounce",), ("Bounce",)),
    (rows.HUGETLB, (), ("Hugetlb",)),
    (rows.ZSPAGES, ("nr_zspages",), ()),
    (PER_CPU_MEMORY, (), ("Percpu",)),
)


# What every kernel counts and prints: where such a row is not told, the file is a part of one.
_ALWAYS_TOLD = (rows.ANON, rows.FILE, rows.SLAB_RECLAIMABLE, rows.SLAB_UNRECLAIMABLE)


def counters_of(readings: Iterable[Reading]) -> Mapping[str, int]:
    """The counters of all readings; of several moments those with least memory free."""
    merged: dict[str, int] = {}
    for reading in sorted(readings, key=lambda r: -r.notes.accounts.counters.get(_FREE, 0)):
        merged.update(reading.notes.accounts.counters)
    return merged


def vmstat_balance(
    counters: Mapping[str, int],
    meminfo: Meminfo | None,
    others: SideAccounts,
    *,
    ram_pages: int,
    page_bytes: int | None,
) -> Balance | None:
    """The balance; None where no counter tells the free pages.

    Without a page size, what is counted in kB stays among the unexplained pages, and a note says so.
    What no counter has is the remainder: pages that drivers and vmalloc took, named by other files as far as they tell.
    """
    found: list[BalanceRow] = []
    notes: list[str] = []
    not_told: list[str] = []
    if meminfo is not None and page_bytes is not None and _FREE in counters and "MemFree" in meminfo.kib:
        free_pages = meminfo.kib["MemFree"] * 1024 // page_bytes
        if abs(free_pages - counters[_FREE]) > _OF_ONE_MOMENT * ram_pages:
            notes.append(
                f"MemFree is {free_pages:,} pages and nr_free_pages {counters[_FREE]:,}: they are of two moments, or "
                "of a container and its host; what /proc/vmstat and /proc/zoneinfo count is left out"
            )
            counters = {}
    distrusted, huge_pages = _of_old_kernels(counters, meminfo, page_bytes)
    for kind, names, kib_names in _ROWS:
        if kind in distrusted and (meminfo is None or kib_names[0] not in meminfo.kib):
            notes.append(f"{names[0]} counts stacks on this kernel, not kB: it stands among the unexplained")
            continue
        if page_bytes is None and names[:1] and names[0] in _IN_KIB:
            notes.append(f"{names[0]} is in kB and stands among the unexplained: the page size is not known")
            continue
        told = None if kind in distrusted or not names else _sum(counters, names, page_bytes)
        used = names
        if kind == rows.ANON and told is not None and huge_pages:
            told, used = told + huge_pages, (*names, _HUGE_ANON)
        if told is None and meminfo is not None and kib_names and page_bytes is not None:
            kib = _sum(meminfo.kib, kib_names, None)
            if kib is None and kind == rows.FILE and (kib := _sum(meminfo.kib, kib_names[:2], None)) is not None:
                notes.append("page cache: shmem is in it; the input does not show how much")
            told, used = None if kib is None else kib * 1024 // page_bytes, kib_names
        if told is None:
            if kind == rows.FREE:
                return None
            not_told.append(kind)
        if told and told > _MORE_THAN_ALL * ram_pages > _MORE_THAN_ALL:
            notes.append(f"{used[0]}: {told:,} pages are more than all of RAM: left out")
            continue
        if told:
            parts = _unreclaimable(others, found) if kind == rows.SLAB_UNRECLAIMABLE else ()
            found.append(BalanceRow(kind, told, parts, ", ".join(name for name in used if not name.startswith("-"))))
    if (swapped := _in_swap_cache_alone(counters, meminfo, page_bytes)) is not None and swapped[0]:
        found.append(BalanceRow(rows.SWAP_CACHE, swapped[0], (), swapped[1]))
    unexplained_pages = ram_pages - sum(row.pages for row in found)
    unexplained = others.parts_of_the_rest(page_bytes)
    missing = () if page_bytes is None else tuple(kind for kind in not_told if kind in _ALWAYS_TOLD)
    if missing:
        notes.append(f"{', '.join(missing)}: not in the input, and part of the unexplained")
    return Balance(
        ram_pages,
        None,
        tuple(found),
        unexplained_pages,
        unexplained,
        tuple(notes),
        missing=missing,
        not_told=tuple(not_told),
    )


def _in_swap_cache_alone(
    counters: Mapping[str, int], meminfo: Meminfo | None, page_bytes: int | None
) -> tuple[int, str] | None:
    """Pages of the swap cache that no process has mapped, and where they stand; None where that is not told.

    They are in neither Cached nor AnonPages. The lists of anonymous memory have them, shmem and what is mapped: what is
    left of those is as much as is sure, for mapped pages may be in the swap cache, too.
    """
    names = ("nr_active_anon", "nr_inactive_anon", "nr_anon_pages", "nr_shmem", "nr_swapcached")
    if all(name in counters for name in names):
        active, inactive, anon, shmem, cached = (counters[name] for name in names)
        return min(max(active + inactive - anon - shmem, 0), cached), "nr_swapcached"
    kib_names = ("Active(anon)", "Inactive(anon)", "AnonPages", "Shmem", "SwapCached")
    if meminfo is None or page_bytes is None or any(name not in meminfo.kib for name in kib_names):
        return None
    active, inactive, anon, shmem, cached = (meminfo.kib[name] * 1024 // page_bytes for name in kib_names)
    return min(max(active + inactive - anon - shmem, 0), cached), "SwapCached"


def _of_old_kernels(
    counters: Mapping[str, int], meminfo: Meminfo | None, page_bytes: int | None
) -> tuple[tuple[str, ...], int]:
    """Rows whose counters mean something else before 4.8, and the huge pages that nr_anon_pages leaves out before 3.13.

    From 4.8 on the LRU lists are the nodes' and every zone counts its own in nr_zone_* (75ef7184053989118). Before,
    nr_kernel_stack counts stacks (d30dd8be06fa16e2). Before 3.13 huge pages of processes are in
    nr_anon_transparent_hugepages alone: 4.5, which counts thp_split_page (122afea9626ab3f7), and the lists tell.
    """
    if not counters or any(name.startswith("nr_zone_") for name in counters):
        return (), 0
    huge_pages = 0
    if "thp_split_page" not in counters and counters.get(_HUGE_ANON) and not _has_huge_pages_in_it(counters):
        # A huge page is what one page of page table entries of 8 bytes maps.
        huge_bytes = meminfo.hugepage_bytes if meminfo is not None and meminfo.hugepage_bytes is not None else None
        each = (page_bytes or 4096) // 8 if huge_bytes is None or page_bytes is None else huge_bytes // page_bytes
        huge_pages = counters[_HUGE_ANON] * each
    return (rows.KERNEL_STACKS,), huge_pages


def _has_huge_pages_in_it(counters: Mapping[str, int]) -> bool:
    """Whether nr_anon_pages counts huge pages, by the lists: process memory and shmem lie on those of anon.

    That came with 3.13 (3cd14fcd3f128d5eba8575491cb4e1999ee1bad2); a huge page counts on the lists as what it has.
    """
    names = ("nr_active_anon", "nr_inactive_anon", "nr_anon_pages", "nr_shmem")
    if any(name not in counters for name in names):
        return False
    active, inactive, anon, shmem = (counters[name] for name in names)
    return abs(active + inactive - shmem - anon) < _NEAR * counters[_HUGE_ANON] * _HUGE_PAGES


def _unreclaimable(others: SideAccounts, found: list[BalanceRow]) -> tuple[tuple[str, int], ...]:
    """The caches that cannot be reclaimable, as slabinfo does not say which are: those larger than all that is."""
    reclaimable = next((row.pages for row in found if row.kind == rows.SLAB_RECLAIMABLE), 0)
    return tuple((name, pages) for name, pages in others.parts_of_slab() if pages > reclaimable)


def _sum(told: Mapping[str, int], names: tuple[str, ...], page_bytes: int | None) -> int | None:
    """The counters of a row together, None where one of them is not there; never below 0."""
    total = 0
    for name in names:
        value = told.get(name.removeprefix("-"))
        if value is None and name == "-nr_swapcached":
            continue  # from 5.12 on only; a fraction of the cache
        if value is None:
            return None
        if page_bytes is not None and name in _IN_KIB:
            value = value * 1024 // page_bytes
        total += -value if name.startswith("-") else value
    return max(total, 0)
