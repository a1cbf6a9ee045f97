"""Page frames that lists and areas of the kernel tell of, where struct page does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import drgn
import numpy as np
import numpy.typing as npt
from drgn.helpers.linux.list import list_for_each_entry
from drgn.helpers.linux.mm import follow_phys
from drgn.helpers.linux.pid import for_each_task
from drgn.helpers.linux.sched import idle_task

from oomscope.model import census
from oomscope.model.unknown import Unknown
from oomscope.sources.vmcore import vmalloc
from oomscope.sources.vmcore.counters import ADDRESSES, cpu_offsets, zones

if TYPE_CHECKING:
    from oomscope.sources.vmcore.dump import Dump
    from oomscope.sources.vmcore.sections import Section

Pfns = npt.NDArray[np.int64]
_STACKS = census.KERNEL_STACKS
_MOST_LISTED = 1 << 24
_MOST_CHUNKS = 1 << 16
_MOST_ORDER = 18  # 1 GiB of 4 KiB pages
_COSTLY_ORDERS = 4  # orders 0 to PAGE_ALLOC_COSTLY_ORDER have per-cpu lists from 5.13 on, then huge pages
# Around the first task's stack (include/asm-generic/vmlinux.lds.h), renamed in 6.10.
_FIRST_STACK = ("__start_init_stack", "__end_init_stack", "__start_init_task", "__end_init_task")


@dataclass(frozen=True, slots=True)
class UsageRange:
    """Frames by PFN, their use (model.census) and, if it has one, the name of the part of it."""

    pfn: Pfns
    use: int
    part: str | None = None


class PfnIndex:
    """From the address of a struct page to its PFN."""

    def __init__(self, sections: list[Section], size: int) -> None:
        by_address = sorted(sections, key=lambda section: section.struct_page_at)
        self._size = size
        self._at = np.array([section.struct_page_at for section in by_address], np.uint64)
        self._start = np.array([section.start_pfn for section in by_address], np.int64)
        self._pages = np.array([section.pages for section in by_address], np.int64)

    def pfns(self, struct_pages: npt.NDArray[np.uint64]) -> Pfns:
        """The PFN of each; addresses of no struct page are left out."""
        if not len(self._at):
            return np.zeros(0, np.int64)
        section = np.searchsorted(self._at, struct_pages, side="right").astype(np.int64) - 1
        known = section >= 0
        section, struct_pages = section[known], struct_pages[known]
        frame = ((struct_pages - self._at[section]) // np.uint64(self._size)).astype(np.int64)
        within = frame < self._pages[section]
        return (self._start[section] + frame)[within]


def everything(dump: Dump, places: PfnIndex, sections: list[Section]) -> Iterator[UsageRange]:
    """All claims but the free pages', the surer first; what this kernel does not have claims nothing."""
    yield from _as_far_as_it_goes(dump, "vmalloc areas", _vmalloc(dump, places))
    yield from _as_far_as_it_goes(dump, "kernel stacks", _task_stacks(dump))
    yield from _as_far_as_it_goes(dump, "per-cpu areas", _per_cpu_areas(dump))
    yield from _as_far_as_it_goes(dump, "page_ext and memmap", _descriptions(dump, sections))
    yield from _as_far_as_it_goes(dump, "contiguous memory areas", _cma(dump))


def huge_pages(dump: Dump, places: PfnIndex) -> Iterator[UsageRange]:
    """Huge pages in pools and in use; in use, their struct pages look like memory of processes or files."""
    yield from _as_far_as_it_goes(dump, "pools of huge pages", _hugetlb(dump, places))


def per_cpu_lists(dump: Dump, places: PfnIndex) -> Iterator[UsageRange]:
    """Free pages that the page allocator keeps ready for one CPU (struct per_cpu_pages in mm/page_alloc.c)."""
    yield from _as_far_as_it_goes(dump, "per-cpu lists", _per_cpu_lists(dump, places))


def _as_far_as_it_goes(dump: Dump, what: str, claims: Iterator[UsageRange]) -> Iterator[UsageRange]:
    """The claims up to where they cannot be read; that is said, unless this kernel simply has no such thing."""
    try:
        yield from claims
    except LookupError:
        return
    except (drgn.FaultError, AttributeError, ValueError, TypeError, OverflowError, MemoryError) as error:
        dump.damage.append(Unknown(f"a part of the {what}", f"their description cannot be read: {error}"))


def _per_cpu_lists(dump: Dump, places: PfnIndex) -> Iterator[UsageRange]:
    pcp_type = dump.prog.type("struct per_cpu_pages")
    lists_at = drgn.offsetof(pcp_type, "lists")
    lists = int(pcp_type.member("lists").type.length)
    migrate_types = dump.constant("MIGRATE_PCPTYPES") or 3
    lru_at = dump.offset("struct page", "lru") or 0
    huge_order = (dump.page_size_bytes // 8).bit_length() - 1
    within = 0
    for _, _, zone in zones(dump):
        if zone.type_.has_member("per_cpu_pageset"):
            base = zone.per_cpu_pageset.value_()
        else:
            base, within = zone.pageset.value_(), dump.offset("struct per_cpu_pageset", "pcp") or 0
        for cpu_offset in cpu_offsets(dump):
            for index in range(lists):
                head = (base + cpu_offset + within + lists_at + 16 * index) & ADDRESSES
                order = index // migrate_types
                order = order if order < _COSTLY_ORDERS else huge_order
                first = places.pfns(np.array(_listed(dump, head), np.uint64) - np.uint64(lru_at))
                pfn = (first[:, np.newaxis] + np.arange(1 << order)).ravel()
                yield UsageRange(pfn, census.PER_CPU_LISTS)


def _listed(dump: Dump, head: int) -> list[int]:
    """The addresses of a list's entries (struct list_head), its head left out; a damaged list ends early."""
    found: list[int] = []
    seen: set[int] = set()
    at = int(dump.words_at(head, 1)[0])
    while at not in (head, 0) and at not in seen and len(found) < _MOST_LISTED:
        found.append(at)
        seen.add(at)
        at = int(dump.words_at(at, 1)[0])
    return found


def _hugetlb(dump: Dump, places: PfnIndex) -> Iterator[UsageRange]:
    """Huge pages of every size, in use or in the pool (mm/hugetlb.c)."""
    hstate = dump.prog.type("struct hstate")
    lru_at = dump.offset("struct page", "lru") or 0
    states = dump.prog["hstates"].address_
    assert states is not None
    free_at = drgn.offsetof(hstate, "hugepage_freelists")
    lists = int(hstate.member("hugepage_freelists").type.length)
    for index in range(min(dump.number("hugetlb_max_hstate") or 0, 8)):
        at = states + index * drgn.sizeof(hstate)
        order = int(drgn.Object(dump.prog, hstate, address=at).order)
        heads = [at + drgn.offsetof(hstate, "hugepage_activelist"), *(at + free_at + 16 * i for i in range(lists))]
        for head in heads:
            first = places.pfns(np.array(_listed(dump, head), np.uint64) - np.uint64(lru_at))
            pages = np.arange(1 << min(order, _MOST_ORDER))
            kib = (dump.page_size_bytes << order) // 1024
            yield UsageRange((first[:, np.newaxis] + pages).ravel(), census.HUGETLB, f"{kib} kB")


def _vmalloc(dump: Dump, places: PfnIndex) -> Iterator[UsageRange]:
    """Pages of vmalloc areas per caller; kernel stacks among them (VMAP_STACK) are known by their caller."""
    found = list(vmalloc.areas(dump))
    stacks = set(_stacks(dump))
    stack_callers = {area.caller for area in found if area.start in stacks}
    by_caller: dict[int, list[npt.NDArray[np.uint64]]] = {}
    for area in found:
        by_caller.setdefault(area.caller, []).append(area.struct_pages)
    for caller, struct_pages in by_caller.items():
        pfn = places.pfns(np.concatenate(struct_pages))
        if caller in stack_callers:
            yield UsageRange(pfn, _STACKS)
        else:
            yield UsageRange(pfn, census.VMALLOC, dump.symbols.name(caller))


def _stacks(dump: Dump) -> Iterator[int]:
    """Where the kernel stack of every task begins, as far as the lists of tasks can be read.

    A panic stops CPUs, whose idle tasks stay.
    """
    try:
        for task in for_each_task(dump.prog):
            yield int(task.stack.value_())
        for cpu in range(len(cpu_offsets(dump))):
            yield int(idle_task(dump.prog, cpu).stack.value_())
    except (LookupError, drgn.FaultError, ValueError, OverflowError) as error:
        dump.damage.append(Unknown("a part of the kernel stacks", f"the list of tasks cannot be read: {error}"))


def _task_stacks(dump: Dump) -> Iterator[UsageRange]:
    """The kernel stack of every task, each as large as the first task's."""
    ends = [dump.symbols.address_of(name) for name in _FIRST_STACK]
    size = next((end - start for start, end in zip(ends[::2], ends[1::2], strict=True) if start and end), 0)
    step = dump.page_size_bytes
    yield UsageRange(_known([_pfn(dump, at + page) for at in _stacks(dump) for page in range(0, size, step)]), _STACKS)


def _per_cpu_areas(dump: Dump) -> Iterator[UsageRange]:
    """Pages behind per-CPU allocations: every populated page of every chunk, once per unit (mm/percpu.c)."""
    prog = dump.prog
    slots = prog["pcpu_chunk_lists" if dump.symbols.address_of("pcpu_chunk_lists") else "pcpu_slot"].read_()
    unit_offsets = dump.words_at(prog["pcpu_unit_offsets"].value_(), len(cpu_offsets(dump))).tolist()
    seen: set[int] = set()
    for slot in range(min(dump.number("pcpu_nr_slots") or 0, 256)):
        for chunk in list_for_each_entry("struct pcpu_chunk", slots[slot].address_of_(), "list"):
            if chunk.value_() in seen or len(seen) > _MOST_CHUNKS:
                dump.damage.append(Unknown("a part of the per-cpu areas", "their list goes round in a circle"))
                return
            seen.add(chunk.value_())
            if not chunk.data:  # the first chunk is boot memory
                continue
            words = (int(chunk.nr_pages) + 63) // 64
            bits = dump.words_at(chunk.populated.address_of_().value_(), words).view(np.uint8)
            base = chunk.base_addr.value_()
            pfns: list[int] = []
            for page in np.flatnonzero(np.unpackbits(bits, bitorder="little")).tolist():
                pfns += [_pfn(dump, base + unit + page * dump.page_size_bytes) for unit in unit_offsets]
            yield UsageRange(_known(pfns), census.PER_CPU_AREAS)


def _descriptions(dump: Dump, sections: list[Section]) -> Iterator[UsageRange]:
    """page_ext arrays, and struct pages that were not boot memory."""
    ext_size = dump.number("page_ext_size") or 0
    struct_page_size = dump.size("struct page") or 64
    for section in sections:
        if section.page_ext_at is not None:
            yield UsageRange(_behind(dump, section.page_ext_at, section.pages * ext_size), census.PAGE_EXT)
        yield UsageRange(_behind(dump, section.struct_page_at, section.pages * struct_page_size), census.MEMMAP)


def _behind(dump: Dump, address: int, size: int) -> Pfns:
    """The frames behind a virtual range: in one piece where its two ends are as far apart as its addresses."""
    step = dump.page_size_bytes
    pages = (address % step + size + step - 1) // step
    first, last = _pfn(dump, address), _pfn(dump, address + (pages - 1) * step)
    if first < 0 and last < 0:
        return np.zeros(0, np.int64)
    if last - first == pages - 1:
        return np.arange(first, first + pages, dtype=np.int64)
    return _known([_pfn(dump, address + page * step) for page in range(pages)])


def _cma(dump: Dump) -> Iterator[UsageRange]:
    """What the contiguous memory allocator has given out: set bits of each area's bitmap (mm/cma.c)."""
    areas = dump.prog["cma_areas"]
    for index in range(min(dump.number("cma_area_count") or 0, 64)):
        area = areas[index]
        order_per_bit = min(int(area.order_per_bit), _MOST_ORDER)
        name = area.name.string_().decode(errors="backslashreplace")
        ranges = [area.ranges[i] for i in range(int(area.nranges))] if area.type_.has_member("ranges") else [area]
        for each in ranges:
            bits = (int(each.count) >> order_per_bit) + 63
            raw = dump.words_at(each.bitmap.value_(), min(bits, 1 << 26) // 64).view(np.uint8)
            used = np.flatnonzero(np.unpackbits(raw, bitorder="little")).astype(np.int64)
            first = int(each.base_pfn) + (used << order_per_bit)
            pfn = (first[:, np.newaxis] + np.arange(1 << order_per_bit)).ravel()
            yield UsageRange(pfn, census.CMA, name)


def _pfn(dump: Dump, address: int) -> int:
    """The frame behind a kernel address, -1 where there is none."""
    try:
        return int(follow_phys(dump.prog["init_mm"].address_of_(), address)) // dump.page_size_bytes
    except (drgn.FaultError, LookupError, NotImplementedError, ValueError):
        return -1


def _known(pfns: list[int]) -> Pfns:
    found = np.array(pfns, np.int64)
    return found[found >= 0]
