"""Virtual memory of the dead kernel, by its own page tables: linear map, vmalloc, modules and image alike.

x86-64 (4 and 5 levels, memory encryption) and arm64 (4, 16 and 64 KiB pages); what says how is in VMCOREINFO.
"""

from __future__ import annotations

import struct
from array import array

from oomscope.crash_reader.errors import Unread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Physical(Protocol):
        """What has physical memory, and tells what VMCOREINFO does."""

        vmcoreinfo: dict[str, str]

        def into(self, address: int, view: memoryview) -> None:
            """Fill a writable view of bytes from a physical address on. Raises Unread."""


_ALL = (1 << 64) - 1
_TABLES_KEPT = 512
_MOST_BYTES = 64 << 20
_ADDRESS = 0x000FFFFFFFFFF000
# arch/x86/include/asm/pgtable_types.h
_X86_HUGE, _X86_IMAGE = 1 << 7, 0xFFFFFFFF80000000
# arch/arm64/include/asm/pgtable-hwdef.h: bit 1 tells a table, or at the last level a page, from a block.
_ARM_TABLE = 1 << 1
_ARM_ADDRESS = 0x0000FFFFFFFFF000
_ARM_LARGEST_PAGE = 1 << 16
_PRESENT = 1  # of both


class Memory:
    """Reads virtual addresses. Raises Unread where VMCOREINFO does not tell where the tables begin."""

    def __init__(self, core: Physical, machine: str) -> None:
        self._core = core
        self.vmcoreinfo = told = core.vmcoreinfo
        try:
            self.page_bytes = int(told["PAGESIZE"])
            if machine == "x86_64":
                self._is_arm = False
                self._levels = 5 if told.get("NUMBER(pgtable_l5_enabled)") == "1" else 4
                self._mask = _ADDRESS & ~int(told.get("NUMBER(sme_mask)", "0"))
                root = int(told.get("SYMBOL(init_top_pgt)") or told["SYMBOL(swapper_pg_dir)"], 16)
                self._root = root - _X86_IMAGE + int(told["NUMBER(phys_base)"])
            else:
                self._is_arm = True
                self._va_bits = int(told["NUMBER(VA_BITS)"])
                if "NUMBER(TCR_EL1_T1SZ)" in told and self.page_bytes < _ARM_LARGEST_PAGE:
                    # A kernel of 52 bits leaves levels out on a processor of 48; with pages of 64 KiB it does not.
                    self._va_bits = 64 - int(told["NUMBER(TCR_EL1_T1SZ)"], 0)
                self._mask = _ARM_ADDRESS & ~(self.page_bytes - 1)
                self._root = int(told["SYMBOL(swapper_pg_dir)"], 16) - int(told["NUMBER(kimage_voffset)"], 0) & _ALL
        except (KeyError, ValueError) as error:
            raise Unread(f"VMCOREINFO does not tell where page tables are ({error})") from error
        self._page_shift = self.page_bytes.bit_length() - 1
        self._index_bits = self._page_shift - 3
        if self._is_arm:
            self._levels = -(-(self._va_bits - self._page_shift) // self._index_bits)
        self._tables: dict[int, array[int]] = {}

    def into(self, address: int, view: memoryview) -> None:
        """Fill a view of bytes; what lies in one row in memory is read in one go. Raises Unread."""
        done = run_from = run = 0
        run_at = -1
        while done < len(view):
            at, size = self._physical(address + done & _ALL)
            size = min(size, len(view) - done)
            if run and at == run_at + run:
                run += size
            else:
                if run:
                    self._core.into(run_at, view[run_from : run_from + run])
                run_at, run_from, run = at, done, size
            done += size
        if run:
            self._core.into(run_at, view[run_from : run_from + run])

    def bytes_at(self, address: int, size: int) -> bytes:
        """Bytes at an address. Raises Unread, where a damaged length asks for more than anything takes, too."""
        if not 0 <= size <= _MOST_BYTES:
            raise Unread(f"{size} bytes at {address:#x}: its length is damaged")
        found = bytearray(size)
        self.into(address, memoryview(found))
        return bytes(found)

    def word_at(self, address: int) -> int:
        """A u64. Raises Unread."""
        return int.from_bytes(self.bytes_at(address, 8), "little")

    def int_at(self, address: int) -> int:
        """A u32. Raises Unread."""
        return int.from_bytes(self.bytes_at(address, 4), "little")

    def words_at(self, address: int, count: int) -> array[int]:
        """`count` times u64. Raises Unread."""
        return array("Q", self.bytes_at(address, 8 * count))

    def text_at(self, address: int, most: int = 512) -> str:
        """A C string: not read beyond a page that is the last one there. Raises Unread."""
        here = min(most, self.page_bytes - address % self.page_bytes)
        text = self.bytes_at(address, here)
        if b"\0" not in text and here < most:
            text += self.bytes_at(address + here, most - here)
        return printable(text.split(b"\0")[0])

    def _physical(self, address: int) -> tuple[int, int]:
        """The physical address, and how many bytes its mapping has from there on."""
        table = self._root
        for level in range(self._levels - 1, -1, -1):
            shift = self._page_shift + self._index_bits * level
            bits = self._index_bits
            if self._is_arm and level == self._levels - 1:
                bits = self._va_bits - shift
            entry = self._entry(table, address >> shift & (1 << bits) - 1)
            if not entry & _PRESENT:
                raise Unread(f"{address:#x} is not mapped")
            is_block = not entry & _ARM_TABLE if self._is_arm else bool(entry & _X86_HUGE) and level < 3
            if level == 0 or is_block:
                span = 1 << shift
                offset = address & span - 1
                return (entry & self._mask & ~(span - 1)) + offset, span - offset
            table = entry & self._mask
        raise AssertionError

    def _entry(self, table: int, index: int) -> int:
        words = self._tables.get(table)
        if words is None:
            if len(self._tables) >= _TABLES_KEPT:
                self._tables.clear()
            page = bytearray(self.page_bytes)
            view = memoryview(page)
            try:
                self._core.into(table, view)
            except Unread:
                # The first table of arm64 may be smaller than a page, with something else behind it.
                self._core.into(table, view[: self.page_bytes // 8])
            words = self._tables[table] = array("Q", bytes(page))
        return words[index]


def printable(text: bytes) -> str:
    """Text of a damaged kernel as it may be printed: no control characters."""
    return "".join(chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}" for byte in text)


def u32(raw: bytes, at: int) -> int:
    """A u32 within bytes."""
    return int(struct.unpack_from("<I", raw, at)[0])


def u64(raw: bytes, at: int) -> int:
    """A u64 within bytes."""
    return int(struct.unpack_from("<Q", raw, at)[0])
