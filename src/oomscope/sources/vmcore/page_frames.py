"""Every page frame in exactly one use, from struct page and from what else in the kernel says who holds it.

What stands in struct page is decisive; lists and areas of the kernel (per-cpu lists, vmalloc areas, per-CPU chunks, …)
then claim frames that struct page does not tell apart; what nobody claims is `kernel`: counted nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from oomscope.model import census
from oomscope.sources.vmcore import page_usage
from oomscope.sources.vmcore.slab_objects import Slabs
from oomscope.sources.vmcore.struct_page import Pages, StructPage

if TYPE_CHECKING:
    from oomscope.sources.vmcore.dump import Dump
    from oomscope.sources.vmcore.sections import Section

_MOST_ORDER = 20
_ANON, _MOVABLE = 1, 2  # PAGE_MAPPING_ANON, PAGE_MAPPING_MOVABLE in the low bits of page->mapping
_NOT_MAPPED = 0xFFFFFFFF  # page->_mapcount of -1, where other pages have their type
Uses = npt.NDArray[np.uint8]
PartOf = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class _Claimed:
    """Frames that something other than struct page tells of, by PFN; the first claim of a frame counts."""

    pfn: npt.NDArray[np.int64]
    use: Uses
    part: PartOf


class PageFrameUses:
    """Tells sections apart frame by frame. `parts` names slab caches and vmalloc callers."""

    def __init__(self, dump: Dump, sections: list[Section]) -> None:
        self._dump = dump
        self.parts = census.Parts()
        self._layout = StructPage(dump)
        self._caches: dict[int, int] = {}
        self._slab_rows: list[Slabs] = []
        places = page_usage.PfnIndex(sections, self._layout.size)
        self.free_lists = _sorted(page_usage.per_cpu_lists(dump, places), self.parts)
        self._huge_pages = _sorted(page_usage.huge_pages(dump, places), self.parts)
        self._claimed = _sorted(page_usage.everything(dump, places, sections), self.parts)
        self._carried = (np.uint8(census.KERNEL), np.int32(census.NO_PART))

    def of(self, section: Section) -> tuple[Uses, PartOf]:
        """Use and part of every frame of a section; sections must come in the order of their PFNs."""
        pages = self._layout.pages(section)
        use = np.full(section.pages, census.KERNEL, np.uint8)
        part = np.full(section.pages, census.NO_PART, np.int32)
        self._by_mapping(pages, use, part)
        use[pages.is_of_page_pool | self._is(pages, "netpp")] = census.PAGE_POOLS
        _claim(section, self._claimed, use, part, over=(census.KERNEL,))
        for name, code in (("table", census.PAGE_TABLES), ("offline", census.OFFLINE), ("zsmalloc", census.ZSMALLOC)):
            found = self._is(pages, name)
            use[found], part[found] = code, census.NO_PART
        use[self._is(pages, "hugetlb")] = census.HUGETLB
        large = self._is(pages, "large_kmalloc")
        if large.any():
            use[large], part[large] = census.SLAB, self.parts.of("(kmalloc of whole pages)")
        self._slabs(section, pages, use, part)
        self._tails(pages, use, part)
        _claim(section, self._huge_pages, use, part, over=None)
        _claim(section, self.free_lists, use, part, over=None)
        reserved = self._layout.has(pages, "PG_reserved")
        use[reserved], part[reserved] = census.RESERVED, census.NO_PART
        free = self._free_blocks(section, pages)
        use[free], part[free] = census.FREE, census.NO_PART
        use[~pages.is_read], part[~pages.is_read] = census.UNREAD, census.NO_PART
        return use, part

    def _is(self, pages: Pages, name: str) -> npt.NDArray[np.bool_]:
        return self._layout.is_of_type(pages, name) & ~pages.is_tail

    def _by_mapping(self, pages: Pages, use: Uses, part: PartOf) -> None:
        """Memory of processes and files: what page->mapping points to (mm/internal.h, include/linux/page-flags.h)."""
        in_use = (pages.mapping != 0) & (pages.refcount > 0) & ~pages.is_tail
        low = pages.mapping & np.uint64(3)
        swap_backed = self._layout.has(pages, "PG_swapbacked")
        anon = in_use & (low & np.uint64(_ANON)).astype(bool)
        use[anon] = census.ANON
        single = anon & ~self._layout.has(pages, "PG_head")
        part[single & (pages.page_type == np.uint32(_NOT_MAPPED))] = self.parts.of("mapped by no process")
        of_file = in_use & (low == 0) & (pages.mapping >> np.uint64(47) != 0)
        use[of_file & ~swap_backed] = census.FILE
        use[of_file & swap_backed] = census.SHMEM

        movable = in_use & (low == np.uint64(_MOVABLE))
        for mapping in np.unique(pages.mapping[movable]).tolist():
            if self._is_of_zsmalloc(mapping - _MOVABLE):
                use[movable & (pages.mapping == np.uint64(mapping))] = census.ZSMALLOC

    def _is_of_zsmalloc(self, address: int) -> bool:
        """Before its pages had a type (6.11), zsmalloc moved them by its own operations: of pages, or of a mapping."""
        if address == self._dump.symbols.address_of("zsmalloc_mops"):
            return True
        operations, at = (
            self._dump.symbols.address_of("zsmalloc_aops"),
            self._dump.offset("struct address_space", "a_ops"),
        )
        return operations is not None and at is not None and int(self._dump.words_at(address + at, 1)[0]) == operations

    @property
    def slabs(self) -> Slabs:
        """The slabs of all sections so far."""
        rows = self._slab_rows
        return Slabs(*(np.concatenate([getattr(row, name) for row in rows]) for name in Slabs.__slots__))

    def _slabs(self, section: Section, pages: Pages, use: Uses, part: PartOf) -> None:
        if self._layout.tells_type("slab"):
            slab = self._is(pages, "slab")
        else:
            slab = self._layout.has(pages, "PG_slab") & ~pages.is_tail
        use[slab] = census.SLAB
        caches, inverse = np.unique(pages.slab_cache[slab], return_inverse=True)
        parts = np.array([self._cache(address) for address in caches.tolist()], np.int32)
        part[slab] = parts[inverse] if len(parts) else 0
        self._slab_rows.append(
            Slabs(
                pfn=section.start_pfn + np.flatnonzero(slab),
                cache=pages.slab_cache[slab],
                inuse=(pages.slab_counts[slab] & np.uint32(0xFFFF)).astype(np.int64),
                objects=(pages.slab_counts[slab] >> np.uint32(16) & np.uint32(0x7FFF)).astype(np.int64),
                obj_exts=pages.slab_obj_exts[slab],
                freelist=pages.slab_freelist[slab],
            )
        )

    def _cache(self, address: int) -> int:
        if address not in self._caches:
            at = self._dump.offset("struct kmem_cache", "name") or 0
            words = self._dump.words_at(address + at, 1)
            name = self._dump.text_at(int(words[0]), 64) or f"cache at {address:#x}"
            self._caches[address] = self.parts.of(name)
        return self._caches[address]

    def _tails(self, pages: Pages, use: Uses, part: PartOf) -> None:
        """A tail is what its head is; a block may have begun in the section before."""
        head = np.where(pages.is_tail, -1, np.arange(len(use)))
        np.maximum.accumulate(head, out=head)
        within = pages.is_tail & (head >= 0)
        use[within], part[within] = use[head[within]], part[head[within]]
        before = pages.is_tail & (head < 0)
        use[before], part[before] = self._carried
        last = head[-1] if len(head) and head[-1] >= 0 else None
        if last is not None:
            self._carried = (use[last], part[last])

    def _free_blocks(self, section: Section, pages: Pages) -> npt.NDArray[np.bool_]:
        """Frames of the buddy allocator's blocks: the first page has the type, and the order in page->private."""
        heads = np.flatnonzero(self._layout.is_of_type(pages, "buddy"))
        order = np.minimum(pages.private[heads], np.uint64(_MOST_ORDER)).astype(np.int64)
        edges = np.zeros(section.pages + 1, np.int64)
        np.add.at(edges, heads, 1)
        np.add.at(edges, np.minimum(heads + (np.int64(1) << order), section.pages), -1)
        return np.cumsum(edges[:-1]) > 0


def _claim(section: Section, claimed: _Claimed, use: Uses, part: PartOf, *, over: tuple[int, ...] | None) -> None:
    """Give the section's frames to who claims them, where their use so far is one of `over`."""
    start, stop = np.searchsorted(claimed.pfn, (section.start_pfn, section.start_pfn + section.pages))
    frames = claimed.pfn[start:stop] - section.start_pfn
    if over is not None:
        fits = np.isin(use[frames], over)
        frames, uses, parts = frames[fits], claimed.use[start:stop][fits], claimed.part[start:stop][fits]
    else:
        uses, parts = claimed.use[start:stop], claimed.part[start:stop]
    use[frames], part[frames] = uses, parts


def _sorted(found: Iterator[page_usage.UsageRange], parts: census.Parts) -> _Claimed:
    rows = list(found)
    if not rows:
        return _Claimed(np.zeros(0, np.int64), np.zeros(0, np.uint8), np.zeros(0, np.int32))
    pfn = np.concatenate([claim.pfn for claim in rows])
    lengths = [len(claim.pfn) for claim in rows]
    use = np.repeat(np.array([claim.use for claim in rows], np.uint8), lengths)
    named = [census.NO_PART if claim.part is None else parts.of(claim.part) for claim in rows]
    part = np.repeat(np.array(named, np.int32), lengths)
    pfn, first = np.unique(pfn, return_index=True)
    return _Claimed(pfn, use[first], part[first])
