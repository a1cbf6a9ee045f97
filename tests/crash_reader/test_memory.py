"""Page tables of x86-64 and arm64, laid out by hand as the processors have them; guests are read in the lab."""

from __future__ import annotations

import struct

import pytest

from oomscope.crash_reader.errors import Unread
from oomscope.crash_reader.memory import Memory, printable

X86_IMAGE = 0xFFFFFFFF80000000


class Physical:
    """Physical memory of a few pages."""

    def __init__(self, **vmcoreinfo: str) -> None:
        self.vmcoreinfo = {
            key.replace("__", "(", 1) + ")" if "__" in key else key: text for key, text in vmcoreinfo.items()
        }
        self.bytes: dict[int, int] = {}

    def into(self, address: int, view: memoryview) -> None:
        """See memory.Physical."""
        for at in range(len(view)):
            if address + at not in self.bytes:
                raise Unread(f"physical {address + at:#x} is not in the dump")
            view[at] = self.bytes[address + at]

    def put(self, address: int, raw: bytes) -> None:
        """Bytes from an address on."""
        for at, byte in enumerate(raw):
            self.bytes[address + at] = byte

    def table(self, address: int, page_bytes: int, **entries: int) -> None:
        """A page of entries, which are given by their index as i0, i511, ..."""
        self.put(address, bytes(page_bytes))
        for name, entry in entries.items():
            self.put(address + 8 * int(name[1:]), struct.pack("<Q", entry))


def x86(levels: int, **more: str) -> Physical:
    told = {"PAGESIZE": "4096", "NUMBER__phys_base": "0", "SYMBOL__swapper_pg_dir": f"{X86_IMAGE + 0x1000:x}"}
    return Physical(**told, NUMBER__pgtable_l5_enabled=str(int(levels == 5)), **more)


@pytest.mark.parametrize("levels", [4, 5])
def test_x86_pages_of_every_size(levels: int) -> None:
    """4 KiB, 2 MiB and 1 GiB pages under 4 and 5 levels, over the edge between two of them."""
    core = x86(levels)
    top = 0x1000
    if levels == 5:
        core.table(top, 4096, i511=0x2003)
        top = 0x2000
    core.table(top, 4096, i256=0x3003)
    core.table(0x3000, 4096, i0=0x4003, i1=0x40000083)  # a 1 GiB page at physical 1 GiB
    core.table(0x4000, 4096, i0=0x5003, i1=0x200083)  # a 2 MiB page at physical 2 MiB
    core.table(0x5000, 4096, i511=0x7003)  # the last 4 KiB before it
    core.put(0x7000, b"a" * 4096)
    core.put(0x200000, b"b" * 16)
    core.put(0x40000000, b"c" * 16)
    memory = Memory(core, "x86_64")
    base = 0xFFFF800000000000
    assert memory.bytes_at(base + (511 << 12) + 4090, 10) == b"aaaaaabbbb"
    assert memory.bytes_at(base + (1 << 30), 4) == b"cccc"
    with pytest.raises(Unread, match="not mapped"):
        memory.bytes_at(base, 1)


def test_memory_encryption_is_no_part_of_an_address() -> None:
    """sme_mask stands in every entry."""
    secret = 1 << 47
    core = x86(4, NUMBER__sme_mask=str(secret))
    core.table(0x1000, 4096, i256=0x3003 | secret)
    core.table(0x3000, 4096, i0=0x4003 | secret)
    core.table(0x4000, 4096, i0=0x5003 | secret)
    core.table(0x5000, 4096, i0=0x7003 | secret)
    core.put(0x7000, b"told")
    assert Memory(core, "x86_64").bytes_at(0xFFFF800000000000, 4) == b"told"


@pytest.mark.parametrize(
    ("page_bytes", "bits", "levels"), [(4096, 39, 3), (4096, 48, 4), (16384, 47, 3), (16384, 48, 4), (65536, 48, 3)]
)
def test_arm64_pages_of_every_granule(page_bytes: int, bits: int, levels: int) -> None:
    """The lowest kernel address of each granule, through as many tables as it has, and a block above it."""
    offset = 0x1000000
    told = {
        "PAGESIZE": str(page_bytes),
        "NUMBER__VA_BITS": str(bits),
        "NUMBER__TCR_EL1_T1SZ": hex(64 - bits),
        "NUMBER__kimage_voffset": "0x0",
        "SYMBOL__swapper_pg_dir": f"{offset:x}",
    }
    core = Physical(**told)
    for level in range(levels):
        following = offset + page_bytes * (level + 1)
        core.table(offset + page_bytes * level, page_bytes, i0=following | 3)
    core.put(offset + page_bytes * levels, b"told")
    shift = page_bytes.bit_length() - 1
    block_bytes = page_bytes * page_bytes // 8
    core.put(offset + page_bytes * (levels - 2) + 8, struct.pack("<Q", 16 * block_bytes | 1))
    core.put(16 * block_bytes + 5, b"block")
    memory = Memory(core, "aarch64")
    lowest = (1 << 64) - (1 << bits)
    assert memory.bytes_at(lowest, 4) == b"told"
    assert memory.bytes_at(lowest + (1 << shift + shift - 3) + 5, 5) == b"block"


def test_what_vmcoreinfo_does_not_tell_is_said() -> None:
    """Without the place of the tables nothing can be read, and that is one sentence."""
    with pytest.raises(Unread, match="where page tables are"):
        Memory(Physical(PAGESIZE="4096"), "x86_64")


def test_a_damaged_length_takes_no_memory() -> None:
    """More than anything takes is refused before it is asked for."""
    with pytest.raises(Unread, match="length is damaged"):
        Memory(x86(4), "x86_64").bytes_at(0, 1 << 40)


def test_names_of_damaged_memory_print_as_text() -> None:
    """No control character, no byte beyond ASCII."""
    assert printable(b"ok\x1b[2J\n\xff") == "ok\\x1b[2J\\x0a\\xff"
