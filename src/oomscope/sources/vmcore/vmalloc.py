"""vmalloc areas: which page frames each holds, and who asked for it (mm/vmalloc.c)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import drgn
import numpy as np
import numpy.typing as npt
from drgn.helpers.linux.list import list_for_each_entry

from oomscope.model.unknown import Unknown

if TYPE_CHECKING:
    from oomscope.sources.vmcore.dump import Dump

# include/linux/vmalloc.h
VM_ALLOC = 0x2
# Kernel addresses: ones in the top byte (x86-64 with 4 and 5 levels of page tables); with tags there, bit 55 (arm64).
_TOP_BYTE, _BELOW_TAG = 0xFF, 55
_MOST_AREAS = 1 << 22
_MOST_PAGES = 1 << 26


@dataclass(frozen=True, slots=True)
class VmallocArea:
    """One area: `[start, end)` in kernel virtual memory, the return address in who asked for it.

    `struct_pages` are the addresses of the struct page of each page it holds; empty where it owns none.
    """

    start: int
    end: int
    caller: int
    flags: int
    struct_pages: npt.NDArray[np.uint64]


def areas(dump: Dump) -> Iterator[VmallocArea]:
    """All areas in use. A damaged list ends early."""
    vm = dump.prog.type("struct vm_struct")
    at = {name: drgn.offsetof(vm, name) for name in ("addr", "size", "flags", "pages", "nr_pages", "caller")}
    size = drgn.sizeof(vm)
    try:
        for address in _vm_structs(dump):
            raw = dump.bytes_at(address, size)
            start, length, flags, pages, caller = (
                int(raw[at[name] : at[name] + 8].view(np.uint64)[0])
                for name in ("addr", "size", "flags", "pages", "caller")
            )
            # An unsigned int, an unsigned long from 7.2 on: there is no machine of 2^32 pages in one area.
            count = int(raw[at["nr_pages"] : at["nr_pages"] + 4].view(np.uint32)[0])
            holds = flags & VM_ALLOC and pages and 0 < count <= _MOST_PAGES
            yield VmallocArea(start, start + length, caller, flags, dump.words_at(pages, count if holds else 0))
    except (drgn.FaultError, ValueError) as error:
        dump.damage.append(Unknown("a part of the vmalloc areas", f"their list cannot be read: {error}"))


def _vm_structs(dump: Dump) -> Iterator[int]:
    """The address of every vm_struct, through the vmap_area that describes where it lies."""
    seen: set[int] = set()
    for head in _lists(dump):
        for area in list_for_each_entry("struct vmap_area", head, "list"):
            if area.value_() in seen or len(seen) > _MOST_AREAS:
                dump.damage.append(Unknown("a part of the vmalloc areas", "their list goes round in a circle"))
                return
            seen.add(area.value_())
            vm = area.vm.value_()
            # Up to 5.x a flag tells whether vm is set (VM_VM_AREA); a purged area has other things in its place.
            if vm >> 56 == _TOP_BYTE or vm >> _BELOW_TAG & 1:
                yield vm


def _lists(dump: Dump) -> Iterator[drgn.Object]:
    """One list up to 6.8; from 6.9 on one per node of a small table."""
    prog = dump.prog
    try:
        prog["vmap_nodes"]
    except LookupError:
        yield prog["vmap_area_list"].address_of_()
        return
    for index in range(min(dump.number("nr_vmap_nodes") or 1, 1024)):
        yield prog["vmap_nodes"][index].busy.head.address_of_()
