"""Where the kernel keeps the descriptions of its page frames: struct page and page_ext, section by section.

Classic sparsemem and vmemmap alike keep both addresses in struct mem_section (mm/sparse.c, mm/page_ext.c); flatmem
keeps them in the node (struct pglist_data). Section by section also skips holes and what was taken offline.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import drgn
import numpy as np

from oomscope.model.unknown import Unknown
from oomscope.sources.vmcore.arrays import column

if TYPE_CHECKING:
    from oomscope.sources.vmcore.dump import Dump

# include/linux/mmzone.h: flags in the low bits of section_mem_map.
_HAS_MEM_MAP, _IS_ONLINE = 1 << 1, 1 << 2
_FLAGS = 0x3F
# mm/page_ext.c: PAGE_EXT_INVALID marks the page_ext of memory that is going offline.
_PAGE_EXT_INVALID = 1
_FLATMEM_PIECE_PAGES = 1 << 15
_MOST_NODES = 1024
_RUN_PAGES = 512
_NO_ZONES = "the kernel's own symbols name functions only: --vmlinux tells them; RAM is what the file holds of it"


@dataclass(frozen=True, slots=True)
class Section:
    """`pages` frames from `start_pfn` on: the address of the first struct page, and of the first page_ext entry.

    `page_ext_at` is None where the section has none.
    """

    start_pfn: int
    pages: int
    struct_page_at: int
    page_ext_at: int | None


def sections(dump: Dump) -> list[Section]:
    """All online sections, by PFN. Raises LookupError where the kernel tells of no memory model that is known."""
    try:
        dump.prog["mem_section"]
    except LookupError:
        if "SYMBOL(mem_section)" not in dump.vmcoreinfo:
            return list(_flatmem(dump))
    found = list(_sparsemem(dump))
    return found if nodes(dump) else [run for section in found for run in _in_the_file(dump, section)]


def nodes(dump: Dump) -> list[drgn.Object]:
    """The struct pglist_data of every node that has memory; none, which is noted, where no symbol leads to them."""
    try:
        data = dump.prog["node_data"]
    except LookupError:
        try:
            return [dump.prog["contig_page_data"]]
        except LookupError:
            dump.damage.append(Unknown("nodes and zones of memory", _NO_ZONES))
            return []
    length = min(dump.number("nr_node_ids") or 1, _MOST_NODES)
    addresses = dump.words_at(_address(data), length).tolist()
    node_type = dump.prog.type("struct pglist_data")
    return [drgn.Object(dump.prog, node_type, address=address) for address in addresses if address]


def _sparsemem(dump: Dump) -> Iterator[Section]:
    prog = dump.prog
    bits = int(dump.vmcoreinfo.get("NUMBER(SECTION_SIZE_BITS)") or prog["SECTION_SIZE_BITS"])
    pages = (1 << bits) // dump.page_size_bytes
    section_type = prog.type("struct mem_section")
    size = drgn.sizeof(section_type)
    mem_map_at = drgn.offsetof(section_type, "section_mem_map")
    page_ext_at = drgn.offsetof(section_type, "page_ext") if section_type.has_member("page_ext") else None
    ext_size = dump.number("page_ext_size") or 0
    page_size = dump.size("struct page") or 0
    for first, at, count in _roots(dump, size):
        raw = dump.bytes_at(at, count * size).reshape(count, size)
        maps = column(raw, mem_map_at, np.uint64)
        exts = column(raw, page_ext_at, np.uint64) if page_ext_at is not None else np.zeros(count, np.uint64)
        online = maps & np.uint64(_HAS_MEM_MAP | _IS_ONLINE) == np.uint64(_HAS_MEM_MAP | _IS_ONLINE)
        for index in np.flatnonzero(online).tolist():
            start_pfn = (first + index) * pages
            ext = int(exts[index])
            has_ext = ext != 0 and not ext & _PAGE_EXT_INVALID and ext_size
            yield Section(
                start_pfn=start_pfn,
                pages=pages,
                # Both are kept less the section's first PFN times the size of an entry.
                struct_page_at=_wrapped((int(maps[index]) & ~_FLAGS) + start_pfn * page_size),
                page_ext_at=_wrapped(ext + start_pfn * ext_size) if has_ext else None,
            )


def _roots(dump: Dump, size: int) -> Iterator[tuple[int, int, int]]:
    """(first section's number, address, sections) of each root: a page of sections, or all of them in a row."""
    try:
        table = dump.prog["mem_section"]
    except LookupError:
        yield from _told_roots(dump, size)
        return
    is_static = table.type_.kind == drgn.TypeKind.ARRAY and table.type_.type.kind != drgn.TypeKind.POINTER
    told = dump.vmcoreinfo.get("SYMBOL(mem_section)")
    if table.type_.kind == drgn.TypeKind.POINTER and told is not None and int(told, 16) == _address(table):
        is_static = True  # without SPARSEMEM_EXTREME the symbol is the table itself
    length = int(dump.vmcoreinfo.get("LENGTH(mem_section)") or table.type_.length)
    if is_static:
        yield 0, _address(table), length
        return
    at = _address(table) if table.type_.kind == drgn.TypeKind.ARRAY else table.value_()
    yield from _roots_at(dump, at, length, size)


def _told_roots(dump: Dump, size: int) -> Iterator[tuple[int, int, int]]:
    """The same by VMCOREINFO alone: where there are as many roots as sections, the table is itself what they are in."""
    at, length = int(dump.vmcoreinfo["SYMBOL(mem_section)"], 16), int(dump.vmcoreinfo["LENGTH(mem_section)"])
    bits = [int(dump.vmcoreinfo[f"NUMBER({name})"]) for name in ("MAX_PHYSMEM_BITS", "SECTION_SIZE_BITS")]
    if length == 1 << bits[0] - bits[1]:
        yield 0, at, length
        return
    yield from _roots_at(dump, at, length, size)


def _roots_at(dump: Dump, at: int, length: int, size: int) -> Iterator[tuple[int, int, int]]:
    per_root = dump.page_size_bytes // size
    for number, root in enumerate(dump.words_at(at, length).tolist()):
        if root:
            yield number * per_root, root, per_root


def _in_the_file(dump: Dump, section: Section) -> Iterator[Section]:
    """The runs of a section of which there is memory at all: without zones nothing else tells RAM from a hole."""
    page_size = dump.size("struct page") or 0
    starts = range(0, section.pages, _RUN_PAGES)
    for is_there, run in itertools.groupby(starts, lambda first: _is_there(dump, section.start_pfn + first)):
        if is_there:
            first, *others = run
            pages = min(_RUN_PAGES * (1 + len(others)), section.pages - first)
            yield Section(section.start_pfn + first, pages, section.struct_page_at + first * page_size, None)


def _is_there(dump: Dump, pfn: int) -> bool:
    try:
        return bool(dump.prog.read(pfn * dump.page_size_bytes, 1, physical=True))
    except (drgn.FaultError, ValueError, OverflowError):
        return False


def _flatmem(dump: Dump) -> Iterator[Section]:
    ext_size = dump.number("page_ext_size") or 0
    page_size = dump.size("struct page") or 0
    for node in nodes(dump):
        start_pfn, spanned = int(node.node_start_pfn), int(node.node_spanned_pages)
        struct_page_at = node.node_mem_map.value_()
        ext = node.node_page_ext.value_() if node.type_.has_member("node_page_ext") else 0
        # The node's page_ext begins where the largest block of the buddy allocator does.
        ahead = start_pfn % (1 << _max_order(dump))
        # Cut where no block of the buddy allocator reaches over: at multiples of the piece, wherever the node begins.
        edges = range(start_pfn - start_pfn % _FLATMEM_PIECE_PAGES, start_pfn + spanned, _FLATMEM_PIECE_PAGES)
        for edge in edges:
            at = max(edge, start_pfn) - start_pfn
            yield Section(
                start_pfn=start_pfn + at,
                pages=min(edge + _FLATMEM_PIECE_PAGES, start_pfn + spanned) - (start_pfn + at),
                struct_page_at=struct_page_at + at * page_size,
                page_ext_at=ext + (ahead + at) * ext_size if ext and ext_size else None,
            )


def _max_order(dump: Dump) -> int:
    """The order of the largest block: one list per order in struct zone."""
    return int(dump.prog.type("struct zone").member("free_area").type.length) - 1


def _address(thing: drgn.Object) -> int:
    assert thing.address_ is not None
    return int(thing.address_)


def _wrapped(address: int) -> int:
    return address & 0xFFFFFFFFFFFFFFFF
