"""The kernel's memory for dumps that drgn does not open: by fixed distances, and by what is there of page tables.

Image and linear map lie at a distance from physical memory that VMCOREINFO tells (arch/x86/kernel/vmcore_info.c,
arch/arm64/kernel/vmcore_info.c). Page tables are allocated at the end of memory, which is what a dump that was cut
short is the first to lose.
"""

from __future__ import annotations

from collections.abc import Callable

import drgn

from oomscope.crash_reader.errors import Unread
from oomscope.crash_reader.memory import Memory

_X86_IMAGE_AT, _X86_IMAGE_BYTES = 0xFFFFFFFF80000000, 1 << 30  # __START_KERNEL_map
_X86_LINEAR_AT = {False: 0xFFFF888000000000, True: 0xFF11000000000000}  # __PAGE_OFFSET_BASE_L4, _L5
_MOST_LINEAR_BYTES = 1 << 46
_WORD = 1 << 64
_KERNEL_AT, _PAGE_BYTES = 0xFF00000000000000, 4096
_MACHINES = {drgn.Architecture.X86_64: "x86_64", drgn.Architecture.AARCH64: "aarch64"}


class _Physical:
    """A program's physical memory, as crash_reader/memory.py reads a core's."""

    def __init__(self, prog: drgn.Program, vmcoreinfo: dict[str, str]) -> None:
        self._prog, self.vmcoreinfo = prog, vmcoreinfo

    def into(self, address: int, view: memoryview) -> None:
        """Fill a view. Raises Unread."""
        try:
            view[:] = self._prog.read(address, len(view), physical=True)
        except (drgn.FaultError, ValueError, OverflowError) as error:
            raise Unread(str(error)) from error


def map_by_tables(prog: drgn.Program, vmcoreinfo: dict[str, str]) -> None:
    """Let what else the kernel has mapped be read, vmalloc and modules, as far as its page tables are in the dump."""
    by_tables = _by_tables(prog, vmcoreinfo)

    def read(address: int, count: int, _offset: int, _is_physical: bool) -> bytes:
        return by_tables(address, count)

    prog.add_memory_segment(_KERNEL_AT, _WORD - _PAGE_BYTES - _KERNEL_AT, read)


def _by_tables(prog: drgn.Program, vmcoreinfo: dict[str, str]) -> Callable[[int, int], bytes]:
    machine = _MACHINES.get(prog.platform.arch) if prog.platform is not None else None
    try:
        memory = None if machine is None else Memory(_Physical(prog, vmcoreinfo), machine)
    except Unread:
        memory = None

    def read(address: int, count: int) -> bytes:
        if memory is None:
            raise drgn.FaultError("its page tables are not known here", address)
        try:
            return memory.bytes_at(address, count)
        except Unread as error:
            raise drgn.FaultError(str(error), address) from error

    return read


def map_image(prog: drgn.Program, vmcoreinfo: dict[str, str]) -> None:
    """Let the kernel's image be read; nothing where VMCOREINFO does not tell where it is."""
    architecture = None if prog.platform is None else prog.platform.arch
    try:
        if architecture == drgn.Architecture.X86_64:
            distance = _X86_IMAGE_AT - int(vmcoreinfo["NUMBER(phys_base)"])
            _map(prog, _X86_IMAGE_AT, _X86_IMAGE_BYTES, distance)
        elif architecture == drgn.Architecture.AARCH64:
            start = int(vmcoreinfo["SYMBOL(_stext)"], 16)
            distance = int(vmcoreinfo["NUMBER(kimage_voffset)"], 0)
            _map(prog, start & ~((2 << 20) - 1), _X86_IMAGE_BYTES, distance)
    except (LookupError, ValueError, OverflowError):
        return


def map_linear(prog: drgn.Program, vmcoreinfo: dict[str, str], page_offset_base_at: int | None) -> None:
    """Let the linear map be read: x86-64 keeps its beginning in page_offset_base, at the given address of the image."""
    architecture = None if prog.platform is None else prog.platform.arch
    try:
        if architecture == drgn.Architecture.X86_64:
            is_five_level = vmcoreinfo.get("NUMBER(pgtable_l5_enabled)", "0") != "0"
            start = _X86_LINEAR_AT[is_five_level]
            if page_offset_base_at is not None:
                start = int.from_bytes(prog.read(page_offset_base_at, 8), "little")
            # Where the kernel has placed its parts by chance, vmalloc begins within that: no RAM is as large.
            _map(prog, start, _MOST_LINEAR_BYTES, start, _by_tables(prog, vmcoreinfo))
        elif architecture == drgn.Architecture.AARCH64:
            bits = int(vmcoreinfo["NUMBER(VA_BITS)"])
            if not 32 < bits < 64:
                return
            start = _WORD - (1 << bits)
            _map(prog, start, 1 << (bits - 1), start - int(vmcoreinfo["NUMBER(PHYS_OFFSET)"], 0))
    except (LookupError, ValueError, OverflowError, MemoryError, drgn.FaultError):
        return


def _map(
    prog: drgn.Program, start: int, size: int, distance: int, otherwise: Callable[[int, int], bytes] | None = None
) -> None:
    def read(address: int, count: int, _offset: int, _is_physical: bool) -> bytes:
        try:
            return bytes(prog.read((address - distance) % _WORD, count, physical=True))
        except drgn.FaultError:
            if otherwise is None:
                raise
            return otherwise(address, count)

    prog.add_memory_segment(start, size, read)
