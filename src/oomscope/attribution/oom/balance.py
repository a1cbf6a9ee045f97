"""Every page of RAM in one row, from the OOM report's own counters (mm/show_mem.c), and each zone and node by itself.

What is a part of another counter is never added to it: shmem lies on the anonymous lists (or among the unevictable),
free CMA pages among the free ones; mapped, dirty, writeback and the swap cache are other views of the same pages. Pages
that a balloon took are out of the managed ones already.
"""

from __future__ import annotations

from collections.abc import Mapping

from oomscope.model import oom_analysis as rows
from oomscope.model.balance import BalanceRow
from oomscope.model.oom_analysis import Accounting, Area
from oomscope.model.oom_event import OomEvent, Zone

OF_SHOWN_ZONES = "the zones that this log shows"
_INCONSISTENT = 0.02  # of RAM: zones and the RAM lines are counted at different moments of boot


def account(event: OomEvent) -> Accounting:
    """The balance of an event; see Accounting."""
    page_kib = event.page_kib or 4
    found: list[BalanceRow] = []
    bounds: list[tuple[str, str]] = []

    def add(kind: str, pages: int | None, source: str, parts: tuple[tuple[str, int], ...] = ()) -> None:
        if pages:
            found.append(BalanceRow(kind, pages, tuple(part for part in parts if part[1]), source))

    counters = _counters(event, page_kib)
    get = counters.get
    add(rows.FREE, get("free"), _where(event, "free"), (("CMA", get("free_cma", 0)),))
    add(rows.PCP, get("free_pcp"), _where(event, "free_pcp"))
    anon, shmem, unevictable = _anon(counters), get("shmem", 0), get("unevictable", 0)
    is_of_lists = not counters.keys().isdisjoint({"active_anon", "inactive_anon", "active", "inactive"})
    # Where the lists are lost, what is in the swap cache is known to be of processes, or shared memory.
    swap_cached = 0 if is_of_lists else event.totals.get("swap cache pages", 0)
    on_lists = min(shmem, anon)
    beyond = shmem - on_lists
    among_unevictable = min(beyond, unevictable)
    if shmem and unevictable and not beyond:
        bounds.append((rows.SHMEM, f"up to {min(shmem, unevictable):,} of it may be among the unevictable instead"))
    add(rows.ANON, anon - on_lists, _where(event, "active_anon"))
    add(rows.SWAP_CACHE, swap_cached, _where(event, "swap cache pages"))
    add(rows.SHMEM, on_lists + among_unevictable, _where(event, "shmem"))
    file, lru = _file_and_lru(event, counters)
    add(rows.LRU, lru, _where(event, "active"))
    add(rows.FILE, file, _where(event, "active_file") or _where(event, "pagecache pages"))
    add(rows.UNEVICTABLE, unevictable - among_unevictable, _where(event, "unevictable"))
    isolated = tuple((what, get(f"isolated_{what}", 0)) for what in (rows.ISOLATED_ANON, rows.ISOLATED_FILE))
    add(rows.ISOLATED, sum(pages for _, pages in isolated), _where(event, "isolated_anon"), isolated)
    add(rows.WRITEBACK_TMP, _node_pages(event, page_kib, "writeback_tmp"), _where_node(event))
    add(rows.SLAB_RECLAIMABLE, get("slab_reclaimable"), _where(event, "slab_reclaimable"))
    slab_source = _where(event, "slab_unreclaimable") or _where(event, "Unreclaimable slab info")
    add(rows.SLAB_UNRECLAIMABLE, get("slab_unreclaimable"), slab_source)
    add(rows.SLAB, get("slab"), _where(event, "slab") or _where(event, "pages slab"))
    add(rows.MISC, get("kernel_misc_reclaimable"), _where(event, "kernel_misc_reclaimable"))
    add(rows.PAGE_TABLES, get("pagetables"), _where(event, "pagetables"))
    add(rows.SECOND_TABLES, get("sec_pagetables"), _where(event, "sec_pagetables"))
    stacks_kib = _stacks_kib(event)
    add(rows.KERNEL_STACKS, stacks_kib // page_kib, _where_node(event))
    add(rows.BOUNCE, get("bounce"), _where(event, "bounce"))
    huge_kib = sum(pool.total * pool.size_kib for pool in event.huge_pages)
    huge_parts = tuple(
        (f"{pool.total:,} of {pool.size_kib:,} kB, {pool.free:,} free", pool.total * pool.size_kib // page_kib)
        for pool in event.huge_pages
    )
    huge_line = event.huge_pages[0].line if event.huge_pages else None
    add(rows.ZSPAGES, sum(zone.kib.get("zspages", 0) for zone in event.zones) // page_kib, _where_zone(event))
    gpu = _node_pages(event, page_kib, "gpu_active", "gpu_reclaim", "GPUActive", "GPUReclaim")
    add(rows.GPU, gpu, _where_node(event))
    hidden_pages = _hidden_zone_pages(event, page_kib)
    ram_pages, reserved, ram_from, problems = _ram(event, page_kib, sum(row.pages for row in found), hidden_pages)
    room = None if ram_pages is None else ram_pages - sum(row.pages for row in found)
    if room is not None and problems and huge_kib // page_kib > max(room, 0):
        problems.append(f"a huge page pool of {huge_kib // page_kib:,} pages does not fit beside the rest: left out")
    else:
        add(rows.HUGETLB, huge_kib // page_kib, _line(huge_line), huge_parts)
    told = sum(row.pages for row in found)
    has_slab = not counters.keys().isdisjoint({"slab_unreclaimable", "slab"})
    if not has_slab and counters.keys() >= {"active", "inactive", "free"}:
        bounds.append(("unaccounted", "kernels of this age do not print slab: it is among what is unaccounted for"))
        has_slab = True
    if not has_slab and _is_of_zones(event) and counters.keys() >= {"active_anon", "active_file", "free"}:
        bounds.append(("unaccounted", "slab is not in these lines: it is among what is unaccounted for"))
        has_slab = True
    complete = "free" in counters and has_slab
    complete = complete and not counters.keys().isdisjoint({"active_anon", "active"})
    swap_free = event.totals.get("free swap kib")
    swap_total = event.totals.get("total swap kib")
    shown_free = sum(zone.kib.get("free", 0) for zone in event.zones) // page_kib
    reclaimable = get("active_file", 0) + get("inactive_file", 0) + get("slab_reclaimable", 0)
    if swap_free is not None:
        reclaimable += min(swap_free // page_kib, anon)
    return Accounting(
        rows=tuple(found),
        ram_pages=ram_pages,
        reserved_pages=reserved,
        ram_from=ram_from,
        unexplained_pages=ram_pages - told if ram_pages is not None and complete else None,
        reclaimable_pages=reclaimable,
        swap_free_pages=None if swap_free is None else swap_free // page_kib,
        swap_total_pages=None if swap_total is None else swap_total // page_kib,
        bounds=tuple(bounds),
        problems=tuple(problems),
        is_whole=any(event.counters.keys() >= every for every in _EVERY_LINE),
        is_of_zones=ram_from == OF_SHOWN_ZONES,
        hidden_zone_pages=hidden_pages,
        hidden_free_pages=max(get("free", 0) - shown_free, 0) if hidden_pages and "free" in counters else 0,
    )


def areas(event: OomEvent) -> tuple[Area, ...]:
    """Each zone, and each node, by itself: what of it is free or on its lists, and the rest."""
    page_kib = event.page_kib or 4
    found = [_area(zone.title, zone.kib, [zone], page_kib) for zone in event.zones if zone.kib]
    for node in event.nodes:
        own = [zone for zone in event.zones if (zone.node or 0) == node.node]
        if len({zone.node for zone in event.zones}) > 1 and own:
            found.append(_area(f"Node {node.node}", node.kib, own, page_kib))
    return tuple(found)


_AREA_ROWS = (
    (rows.ANON, ("active_anon", "inactive_anon")),
    (rows.FILE, ("active_file", "inactive_file")),
    (rows.UNEVICTABLE, ("unevictable",)),
    (rows.ISOLATED, ("isolated(anon)", "isolated(file)")),
    ("slab", ("slab_reclaimable", "slab_unreclaimable")),
    (rows.KERNEL_STACKS, ("kernel_stack", "shadow_call_stack")),
    (rows.PAGE_TABLES, ("pagetables", "sec_pagetables")),
    (rows.ZSPAGES, ("zspages",)),
    (rows.BOUNCE, ("bounce",)),
)


def _area(title: str, kib: dict[str, int] | object, zones: list[Zone], page_kib: int) -> Area:
    assert hasattr(kib, "get")
    free = sum(zone.kib.get("free", 0) for zone in zones) // page_kib
    pcp = sum(zone.kib.get("free_pcp", 0) for zone in zones) // page_kib
    found = [BalanceRow(rows.FREE, free), BalanceRow(rows.PCP, pcp)]
    for kind, names in _AREA_ROWS:
        found.append(BalanceRow(kind, sum(kib.get(name, 0) for name in names) // page_kib))
    known = [zone.kib.get("managed", zone.kib.get("present")) for zone in zones]
    managed = sum(size for size in known if size is not None) // page_kib if None not in known else None
    kept = tuple(row for row in found if row.pages)
    return Area(title, managed, kept, None if managed is None else managed - sum(row.pages for row in kept))


def _anon(counters: Mapping[str, int]) -> int:
    return counters.get("active_anon", 0) + counters.get("inactive_anon", 0)


# A counter of each line of Mem-Info.
_EVERY_LINE = (
    {"active_anon", "active_file", "unevictable", "slab_reclaimable", "slab_unreclaimable", "shmem", "free"},
    {"active_anon", "active_file", "unevictable", "slab", "free"},  # 2.6.28 to 2.6.31
    {"active", "inactive", "slab", "free"},
)
_OF_ZONES = ("slab_reclaimable", "slab_unreclaimable")  # with the zones up to 4.9
_OF_NODES = ("active_anon", "inactive_anon", "active_file", "inactive_file", "unevictable", "shmem", "pagetables")


def _file_and_lru(event: OomEvent, counters: Mapping[str, int]) -> tuple[int, int]:
    """Page cache without shmem, and what of the lists cannot be told apart.

    Where the counters are lost the tail still has NR_FILE_PAGES (`total pagecache pages`): files, tmpfs and swap cache.
    """
    if "active_file" in counters or "inactive_file" in counters:
        return counters.get("active_file", 0) + counters.get("inactive_file", 0), 0
    cached = event.totals.get("pagecache pages")
    lru = counters.get("active", 0) + counters.get("inactive", 0)
    if cached is None or "active_anon" in counters:
        return 0, lru
    return max(cached - event.totals.get("swap cache pages", 0) - counters.get("shmem", 0), 0), 0 if not lru else max(
        lru - cached, 0
    )


def _counters(event: OomEvent, page_kib: int) -> Mapping[str, int]:
    """The global counters; where a line of them is lost, what other lines of the report say of the same."""
    counters = dict(event.counters)
    for name, twin in (("slab", "pages slab"), ("pagetables", "pages pagetables"), ("mapped", "pages mapped")):
        if twin in event.totals:
            counters.setdefault(name, event.totals[twin])
    if event.slab_caches and counters.keys().isdisjoint({"slab_unreclaimable", "slab"}):
        counters["slab_unreclaimable"] = sum(cache.total_kib for cache in event.slab_caches) // page_kib
    if not event.nodes and not event.zones:
        return counters
    for name in (*_OF_NODES, *_OF_ZONES):
        if name not in counters:
            areas_kib = [node.kib[name] for node in event.nodes if name in node.kib]
            areas_kib = areas_kib or [zone.kib[name] for zone in event.zones if name in zone.kib]
            if areas_kib:
                counters[name] = sum(areas_kib) // page_kib
    if "free" not in counters:
        shown = [zone for zone in event.zones if "free" in zone.kib]
        if shown:
            counters["free"] = sum(zone.kib["free"] for zone in shown) // page_kib
        elif event.zones and all("on free lists" in zone.kib for zone in event.zones):
            counters["free"] = sum(zone.kib["on free lists"] for zone in event.zones) // page_kib
    return counters


def _is_of_zones(event: OomEvent) -> bool:
    """Whether the counters of all memory are lost, and those of zones, or of some of them, are all there is."""
    return "free" not in event.counters and any("free" in zone.kib for zone in event.zones)


def _stacks_kib(event: OomEvent) -> int:
    """Kernel stacks stand with the zones up to 5.9, with the nodes from 5.10 on."""
    names = ("kernel_stack", "shadow_call_stack")
    of_nodes = sum(node.kib.get(name, 0) for node in event.nodes for name in names)
    return of_nodes or sum(zone.kib.get(name, 0) for zone in event.zones for name in names)


def _node_pages(event: OomEvent, page_kib: int, *names: str) -> int:
    return sum(node.kib.get(name, 0) for node in event.nodes for name in names) // page_kib


def _ram(event: OomEvent, page_kib: int, told: int, hidden_pages: int) -> tuple[int | None, int | None, str, list[str]]:
    """Managed pages, the reserved ones, where that comes from, and what contradicts it."""
    present, reserved = event.totals.get("pages RAM"), reserved_pages(event)
    sizes = [zone.kib.get("managed") for zone in event.zones]
    managed = sum(s for s in sizes if s is not None) // page_kib if sizes and None not in sizes else None
    problems: list[str] = []
    shown = _shown_pages(event, page_kib)
    if _is_of_zones(event) and shown and (present is None or shown < (1 - _INCONSISTENT) * present):
        return shown, None, OF_SHOWN_ZONES, problems
    if reserved is not None and reserved < 0:
        wrapped = event.totals["pages reserved"]
        problems.append(f"{wrapped:,} pages reserved is a wrapped {reserved:,}: more were freed than had been reserved")
    nodes_shown = not event.is_confined
    if not managed:
        managed = None
    if reserved is not None and reserved < 0:
        source = "`pages RAM`" if managed is None else "the zones' `managed`"
        return managed or present, reserved, source, problems
    if present is not None and reserved is not None and present > reserved:
        ram = present - reserved
        # Without zones that are not shown, the two say the same, or one of them is not of this report.
        if managed is not None and nodes_shown and not hidden_pages and abs(ram - managed) > _INCONSISTENT * ram:
            problems.append(
                f"the zones manage {managed:,} pages, `pages RAM` minus `pages reserved` is {ram:,}: "
                "one of the two is not of this report"
            )
            if told <= managed * (1 + _INCONSISTENT) < ram:
                return managed, reserved, "the zones' `managed`", problems
        if told > ram * (1 + _INCONSISTENT):
            problems.append(f"the counters add up to {told:,} pages, more than RAM has ({ram:,})")
        return ram, reserved, "`pages RAM` minus `pages reserved`", problems
    if managed is not None and nodes_shown and not hidden_pages and managed >= told * (1 - _INCONSISTENT):
        return managed, None, "the zones' `managed`", problems
    sizes = [zone.kib.get("present") for zone in event.zones]
    shown = sum(s for s in sizes if s is not None) // page_kib if sizes and None not in sizes else None
    if shown is not None and nodes_shown and not hidden_pages and shown >= told:
        return shown, None, "the zones' `present`", problems
    return None, None, "", problems


def _shown_pages(event: OomEvent, page_kib: int) -> int | None:
    """Pages of the zones whose counters are there; None where one does not tell its size."""
    zones = [zone for zone in event.zones if "free" in zone.kib]
    sizes = [zone.kib.get("managed", zone.kib.get("present")) for zone in zones]
    known = [size for size in sizes if size is not None]
    return sum(known) // page_kib if zones and len(known) == len(sizes) else None


def reserved_pages(event: OomEvent) -> int | None:
    """`pages reserved`; one that wrapped is negative: the kernel took more pages out of it than were in it."""
    reserved = event.totals.get("pages reserved")
    present = event.totals.get("pages RAM")
    if reserved is None or present is None or reserved < present:
        return reserved
    for bits in (32, 64):
        if (1 << (bits - 1)) <= reserved < (1 << bits):
            return reserved - (1 << bits)
    return reserved


def _hidden_zone_pages(event: OomEvent, page_kib: int) -> int:
    """Pages of zones that the report leaves out: from 6.0 on those above the request's are not printed."""
    present, reserved = event.totals.get("pages RAM"), reserved_pages(event)
    sizes = [zone.kib.get("managed") for zone in event.zones]
    if present is None or reserved is None or not sizes or None in sizes:
        return 0
    if reserved < 0:
        return 0
    shown = sum(s for s in sizes if s is not None) // page_kib
    beyond = present - reserved - shown
    last = event.zones[-1]
    held_back = any(pages for pages in last.lowmem_reserve_pages)
    names = {zone.name for zone in event.zones}
    high = event.totals.get("pages HighMem/MovableOnly", 0)
    leaves_out = not event.is_confined and (held_back or (high > 0 and not names & {"HighMem", "Movable"}))
    return beyond if leaves_out and beyond > _INCONSISTENT * (present - reserved) else 0


def _where(event: OomEvent, name: str) -> str:
    return _line(event.lines.get(name))


def _where_node(event: OomEvent) -> str:
    return _line(event.nodes[0].line) if event.nodes else _where_zone(event)


def _where_zone(event: OomEvent) -> str:
    return _line(event.zones[0].line) if event.zones else ""


def _line(number: int | None) -> str:
    return "" if number is None else f"line {number}"
