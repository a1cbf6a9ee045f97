"""struct page in whole arrays: what the kernel itself has written about each page frame (include/linux/page-flags.h).

Types of pages stand in page_type, whose encoding changed twice: bits that are cleared in a field of ones (4.18), an
enum of such bits from the top (6.11), and one number in the top byte (6.12).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from oomscope.sources.vmcore.arrays import column

if TYPE_CHECKING:
    from oomscope.sources.vmcore.dump import Dump
    from oomscope.sources.vmcore.sections import Section

Words = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]
_TYPES = ("buddy", "slab", "table", "offline", "hugetlb", "zsmalloc", "netpp", "large_kmalloc", "unaccepted")
# Up to 6.10 the bits are macros, in no type information: include/linux/page-flags.h.
_OLD_BITS = {"buddy": 0x80, "offline": 0x100}
_OLD_BASE = 0xF0000000
_NEW_BASE = 0x80000000  # 6.11
_PAGE_POOL = 0xDEAD000000000040  # PP_SIGNATURE with the poison of 64-bit kernels


@dataclass(frozen=True, slots=True)
class Pages:
    """The frames of one section in columns. `is_read` is False where the struct page is not in the dump."""

    flags: Words
    word1: Words  # lru.next, compound_head, pp_magic: they share a place
    mapping: Words
    private: Words
    page_type: npt.NDArray[np.uint32]
    refcount: npt.NDArray[np.int32]
    slab_cache: Words
    slab_counts: npt.NDArray[np.uint32]  # inuse in 16 bits, objects in 15
    slab_freelist: Words
    slab_obj_exts: Words  # or memcg_data, in the same place
    is_read: Mask

    @property
    def is_tail(self) -> Mask:
        """Whether the frame belongs to the block of a head before it (compound_head, compound_info from 7.1 on)."""
        return (self.word1 & np.uint64(1)).astype(bool)

    @property
    def is_of_page_pool(self) -> Mask:
        """Whether a network driver's page pool holds it."""
        of_pool: Mask = self.word1 & ~np.uint64(3) == np.uint64(_PAGE_POOL)
        return of_pool


class StructPage:
    """How this kernel lays out struct page."""

    def __init__(self, dump: Dump) -> None:
        self._dump = dump
        self.size = dump.size("struct page") or 64
        page = "struct page"
        self._flags = dump.offset(page, "flags") or 0
        self._word1 = self._first(page, "compound_head", "compound_info", "lru")
        self._mapping = self._first(page, "mapping", "__folio_index")
        self._private = self._first(page, "private")
        self._type = self._first(page, "page_type", "_mapcount")
        self._refcount = self._first(page, "_refcount")
        in_slab = dump.offset("struct slab", "slab_cache")
        self._slab_cache = self._first(page, "slab_cache") if in_slab is None else in_slab
        slab = page if in_slab is None else "struct slab"
        self._slab_counts = self._first(slab, "counters")
        self._slab_freelist = self._first(slab, "freelist")
        self._slab_obj_exts = self._first(slab, "obj_exts", "memcg_data", "obj_cgroups")
        self._is_type = {name: test for name in _TYPES if (test := self._test(name)) is not None}

    def bit(self, name: str) -> int | None:
        """The bit of a page flag, e.g. PG_reserved."""
        return self._dump.constant(name)

    def pages(self, section: Section) -> Pages:
        """The frames of a section."""
        before = self._dump.unread_bytes
        raw = self._dump.bytes_at(section.struct_page_at, section.pages * self.size).reshape(section.pages, self.size)
        flags = column(raw, self._flags, np.uint64)
        is_read = np.ones(section.pages, np.bool_)
        if self._dump.unread_bytes != before:
            # A struct page that was read is never all zero: its type or its map count is -1, or it is in use.
            is_read = np.any(raw, axis=1)
        return Pages(
            flags=flags,
            word1=column(raw, self._word1, np.uint64),
            mapping=column(raw, self._mapping, np.uint64),
            private=column(raw, self._private, np.uint64),
            page_type=column(raw, self._type, np.uint32),
            refcount=column(raw, self._refcount, np.uint32).view(np.int32),
            slab_cache=column(raw, self._slab_cache, np.uint64),
            slab_counts=column(raw, self._slab_counts, np.uint32),
            slab_freelist=column(raw, self._slab_freelist, np.uint64),
            slab_obj_exts=column(raw, self._slab_obj_exts, np.uint64),
            is_read=is_read,
        )

    def has(self, pages: Pages, flag: str) -> Mask:
        """Which frames have a flag set; none where this kernel has no such flag."""
        bit = self.bit(flag)
        if bit is None:
            return np.zeros(len(pages.flags), np.bool_)
        return (pages.flags >> np.uint64(bit) & np.uint64(1)).astype(bool)

    def is_of_type(self, pages: Pages, name: str) -> Mask:
        """Which frames are of a type, by the kernel's word for it; none where this kernel does not have it."""
        test = self._is_type.get(name)
        return np.zeros(len(pages.flags), np.bool_) if test is None else test(pages.page_type)

    def tells_type(self, name: str) -> bool:
        """Whether this kernel marks such pages at all, in a way that can be read."""
        return name in self._is_type

    def _test(self, name: str) -> Callable[[npt.NDArray[np.uint32]], Mask] | None:
        number = self._dump.constant(f"PGTY_{name}")
        if number is not None:
            return lambda kind: kind >> np.uint32(24) == np.uint32(number)
        bit = self._dump.constant(f"PG_{name}") if name != "slab" or self._dump.constant("PG_table") else None
        base = _NEW_BASE if bit is not None and bit > 0xFFFF else _OLD_BASE
        if bit is None or bit < 64:
            base, bit = _OLD_BASE, self._old_bit(name)
        if bit is None:
            return None
        mask = np.uint32(base | bit)
        return lambda kind: kind & mask == np.uint32(base)

    def _old_bit(self, name: str) -> int | None:
        if name != "table":
            return _OLD_BITS.get(name)
        # Until 5.11 a type of its own, kmemcg, stood before it: such kernels do not know memcg_data.
        return 0x400 if self._dump.constant("MEMCG_DATA_OBJCGS") is None and self._has_kmemcg() else 0x200

    def _has_kmemcg(self) -> bool:
        return self._dump.offset("struct page", "memcg_data") is None

    def _first(self, type_name: str, *members: str) -> int:
        return next((at for member in members if (at := self._dump.offset(type_name, member)) is not None), 0)
