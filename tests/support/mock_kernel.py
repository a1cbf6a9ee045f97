"""A kernel's memory made by hand: types, symbols and a few bytes at chosen addresses, as a drgn Program.

For layouts and sizes that no kernel of the lab has, and for spoilt memory. What kernels really do is tested on kernels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import drgn
import numpy as np

from oomscope.model.reading import Notes
from oomscope.sources.vmcore.dump import Dump
from oomscope.sources.vmcore.kallsyms import Kallsyms

TEXT = 0xFFFFFFFF81000000
DATA = 0xFFFFFFFF82000000
DEPOT = 0xFFFF888003000000
MEMMAP = 0xFFFFEA0000000000
PAGE_EXT = 0xFFFF888100000000
Members = list[tuple[str, str, int]]

# struct page_owner by kernel: name, type, offset (mm/page_owner.c).
OWNER_4_14: Members = [
    ("order", "u32", 0),
    ("gfp_mask", "u32", 4),
    ("last_migrate_reason", "u32", 8),
    ("handle", "u32", 12),
]
OWNER_5_4: Members = [
    ("order", "u16", 0),
    ("last_migrate_reason", "u16", 2),
    ("gfp_mask", "u32", 4),
    ("handle", "u32", 8),
]
OWNER_5_4 += [("free_handle", "u32", 12)]
OWNER_5_11: Members = [*OWNER_5_4, ("ts_nsec", "u64", 16), ("pid", "u32", 24)]
OWNER_6_1: Members = [*OWNER_5_4, ("ts_nsec", "u64", 16), ("free_ts_nsec", "u64", 24), ("comm", "u8[16]", 32)]
OWNER_6_1 += [("pid", "u32", 48), ("tgid", "u32", 52)]
OWNER_6_12: Members = [*OWNER_6_1, ("free_pid", "u32", 56), ("free_tgid", "u32", 60)]
OWNERS = {"4.14": (OWNER_4_14, 16), "5.4": (OWNER_5_4, 16), "5.11": (OWNER_5_11, 32), "6.1": (OWNER_6_1, 56)}
OWNERS["6.12"] = (OWNER_6_12, 64)
# union handle_parts: index's name, its bits, offset's bits (lib/stackdepot.c, include/linux/stackdepot.h).
HANDLES = {"5.10": ("slabindex", 21, 10), "6.1": ("slabindex", 16, 10), "6.3": ("pool_index", 16, 10)}
HANDLES |= {"6.12": ("pool_index_plus_1", 17, 10), "64k": ("pool_index_plus_1", 17, 14)}
PAGE: Members = [("flags", "u64", 0), ("compound_head", "u64", 8), ("lru", "u64", 8), ("slab_cache", "u64", 16)]
PAGE += [("mapping", "u64", 24), ("counters", "u64", 32), ("freelist", "u64", 32), ("private", "u64", 40)]
PAGE += [("page_type", "u32", 48), ("_refcount", "u32", 52), ("memcg_data", "u64", 56)]
ZONE: Members = [("zone_start_pfn", "u64", 0), ("spanned_pages", "u64", 8), ("present_pages", "u64", 16)]
ZONE += [("managed_pages", "struct counter64", 24), ("free_area", "struct free_area[11]", 32)]
NODE: Members = [("node_zones", "struct zone[1]", 0), ("nr_zones", "u32", 128), ("node_id", "u32", 132)]
NODE += [("node_start_pfn", "u64", 136), ("node_spanned_pages", "u64", 144), ("node_mem_map", "u64", 152)]
NODE += [("node_page_ext", "u64", 160)]


@dataclass
class MockKernel:
    """What the mock is made of; `dump()` opens it.

    `sections` maps a section's number to its page_ext bytes (None: has no page_ext), `memory_model` is sparse, static
    or flat. `stacks` are lists of return addresses; `handle(i)` is the handle of the i-th.
    """

    owner: str = "6.12"
    handles: str = "6.12"
    memory_model: str = "sparse"
    page_shift: int = 12
    section_pages: int = 64
    sections: dict[int, np.ndarray[tuple[int, int], np.dtype[np.uint8]] | None] = field(default_factory=dict)
    offline: set[int] = field(default_factory=set)
    stacks: list[list[int]] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    page_owner: bool | None = True  # None: not built in
    pools_are_allocated: bool = False
    struct_pages: Callable[[int, int], bytes] | None = None
    _places: list[int] = field(default_factory=list)

    @property
    def entry_size(self) -> int:
        """Of page_ext: flags, then page_owner."""
        return 8 + OWNERS[self.owner][1]

    def entries(self, pages: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
        """Empty page_ext entries, to be filled by `own`."""
        return np.zeros((pages, self.entry_size), np.uint8)

    def own(
        self, entries: np.ndarray[tuple[int, int], np.dtype[np.uint8]], frames: slice, **values: int | bytes
    ) -> None:
        """Fill entries of frames: handle=, order=, ts_nsec=, pid=, …; `allocated=0` leaves them stale."""
        # PAGE_EXT_OWNER is bit 1 in 4.14 and goes with the page; from 5.4 on it is bit 0 and stays, bit 1 goes.
        allocated = values.pop("allocated", 1)
        bits = (2 if allocated else 0) | (0 if self.owner == "4.14" else 1)
        entries[frames, :8] = np.frombuffer(bits.to_bytes(8, "little"), np.uint8)
        for name, kind, at in OWNERS[self.owner][0]:
            if name in values:
                value = values[name]
                size = _size(kind)
                raw = value.ljust(size, b"\0") if isinstance(value, bytes) else value.to_bytes(size, "little")
                entries[frames, 8 + at : 8 + at + size] = np.frombuffer(raw, np.uint8)

    def handle(self, index: int) -> int:
        """The handle of a stack: all lie in the first pool, one record after another."""
        name, bits, offset = HANDLES[self.handles]
        place = self._record_at(index) >> 4 << bits
        return place | 1 if name == "pool_index_plus_1" else place | 1 << (bits + offset)  # a bit says "valid"

    def _record_at(self, index: int) -> int:
        if not self._places:
            sizes = [_aligned(32 + 8 * len(stack)) for stack in self.stacks]
            self._places += [sum(sizes[:i]) for i in range(len(sizes))]
        return self._places[index]

    def dump(self) -> Dump:
        """The mock as an open dump."""
        prog = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
        types = _Types(prog, self._structs())
        symbols, objects = self._globals()
        constants = {"PAGE_SIZE": 1 << self.page_shift, "PAGE_SHIFT": self.page_shift}
        if self.owner == "4.14":
            constants |= {"PAGE_EXT_OWNER": 1}
        else:
            constants |= {"PAGE_EXT_OWNER": 0, "PAGE_EXT_OWNER_ALLOCATED": 1}
        constants |= {"PG_reserved": 0, "PG_swapbacked": 1, "PGTY_buddy": 0xF0, "PGTY_slab": 0xF5}

        def find(_: drgn.Program, name: str, flags: drgn.FindObjectFlags, __: str | None) -> drgn.Object | None:
            if name in constants and flags & drgn.FindObjectFlags.CONSTANT:
                return drgn.Object(prog, types.of("u64"), constants[name])
            if name in objects and flags & drgn.FindObjectFlags.VARIABLE:
                return drgn.Object(prog, types.of(objects[name]), address=symbols[name])
            return None

        prog.register_type_finder("mock", types.find, enable_index=0)
        prog.register_object_finder("mock", find, enable_index=0)
        symbols |= {"_stext": TEXT, "_etext": TEXT + 0x100000}
        symbols |= {f"function_{i}": TEXT + 0x100 * (i + 1) for i in range(64)}
        kallsyms = Kallsyms(np.array(list(symbols.values()), np.uint64), list(symbols))
        for address, data in self._memory(symbols).items():
            _segment(prog, address, data)
        self._lazy_segments(prog)
        info = {"NUMBER(SECTION_SIZE_BITS)": str((self.section_pages << self.page_shift).bit_length() - 1)}
        info |= {"OSRELEASE": "0.0.0-mock", "LENGTH(mem_section)": "4"}
        if self.memory_model == "static":
            info["SYMBOL(mem_section)"] = f"{symbols['mem_section']:x}"
        return Dump(prog, kallsyms, info, None)

    def _structs(self) -> dict[str, tuple[int, Members]]:
        members, size = OWNERS[self.owner]
        index, bits, offset = HANDLES[self.handles]
        record = [("size", "u32", 12), ("handle", "u32", 16), ("entries", "u64[1]", 32)]
        if index == "pool_index_plus_1":
            record.append(("count", "u32", 20))
        return {
            "struct page_owner": (size, members),
            "struct mem_section": (32, [("section_mem_map", "u64", 0), ("usage", "u64", 8), ("page_ext", "u64", 16)]),
            "struct static_key_false": (4, [("key", "struct static_key", 0)]),
            "struct static_key": (4, [("enabled", "struct counter32", 0)]),
            "struct counter32": (4, [("counter", "u32", 0)]),
            "struct counter64": (8, [("counter", "u64", 0)]),
            "struct page_ext_operations": (16, [("offset", "u64", 0), ("size", "u64", 8)]),
            "struct stack_record": (32, record),
            "union handle_parts": (4, [(index, f"bits{bits}", 0), ("offset", f"bits{offset}", bits)]),
            "struct page": (64, PAGE),
            "struct free_area": (8, [("nr_free", "u64", 0)]),
            "struct zone": (128, ZONE),
            "struct pglist_data": (256, NODE),
            "struct kmem_cache": (16, [("name", "u64", 0), ("flags", "u64", 8)]),
        }

    def _globals(self) -> tuple[dict[str, int], dict[str, str]]:
        objects = {
            "contig_page_data": "struct pglist_data",
            "page_ext_size": "u64",
            "page_owner_ops": "struct page_ext_operations",
            "page_owner_inited": "struct static_key_false",
            "stack_pools": "u64[1]",
        }
        if self.memory_model != "flat":
            objects["mem_section"] = "u64*"
        if self.handles in ("5.10", "6.1"):
            objects["stack_slabs"] = objects.pop("stack_pools")
        if self.pools_are_allocated:
            objects["stack_max_pools"] = "u64"
        if self.page_owner is None:
            del objects["page_owner_ops"], objects["page_owner_inited"]
        return {name: DATA + 0x1000 * (i + 1) for i, name in enumerate(objects)}, objects

    def _memory(self, symbols: Mapping[str, int]) -> dict[int, bytes]:
        numbers = sorted(self.sections) or [0]
        pages = (numbers[-1] + 1) * self.section_pages
        table = b""
        for number in range(4 * self._per_root()):
            present = number in self.sections
            flags = 0x3 if number in self.offline else 0xF
            memmap = (MEMMAP + 64 * self.section_pages * number) - 64 * self.section_pages * number
            has_ext = present and self.sections[number] is not None
            ext = self._ext_at(number) - self.entry_size * self.section_pages * number if has_ext else 0
            table += _u64(memmap | flags if present else 0, 0, ext, 0)
        zone = _u64(0, pages, pages, pages).ljust(128, b"\0")
        start = numbers[0] * self.section_pages
        first_ext = self._ext_at(numbers[0])
        node = zone + (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
        node += _u64(start, pages - start, MEMMAP + 64 * start, first_ext)
        memory = {
            symbols["contig_page_data"]: node.ljust(256, b"\0"),
            symbols["page_ext_size"]: _u64(self.entry_size),
            DEPOT: self._pool(),
        }
        pools = next(symbols[name] for name in ("stack_pools", "stack_slabs") if name in symbols)
        if self.pools_are_allocated:
            memory[pools] = _u64(DEPOT + 0x100000)
            pools = DEPOT + 0x100000
        memory[pools] = _u64(DEPOT).ljust(4096, b"\0")
        if self.memory_model == "sparse":
            memory[symbols["mem_section"]] = _u64(DATA + 0x100000)
            size = 32 * self._per_root()
            roots = [DATA + 0x200000 + size * i for i in range(4)]
            memory[DATA + 0x100000] = _u64(*roots)
            memory[DATA + 0x200000] = table
        elif self.memory_model == "static":
            memory[symbols["mem_section"]] = table[: 32 * 4]
        if self.page_owner is not None:
            memory[symbols["page_owner_ops"]] = _u64(8, OWNERS[self.owner][1])
            memory[symbols["page_owner_inited"]] = int(self.page_owner).to_bytes(4, "little")
        copies: dict[int, bytes] = {}  # sections may share their entries: a large machine needs little memory
        for number, entries in self.sections.items():
            if entries is not None:
                memory[self._ext_at(number)] = copies.setdefault(id(entries), entries.tobytes())
        return memory

    def _lazy_segments(self, prog: drgn.Program) -> None:
        pages = (max(self.sections, default=0) + 1) * self.section_pages
        read = self.struct_pages or _in_use
        prog.add_memory_segment(
            MEMMAP, 64 * pages, lambda _address, count, offset, _physical: read(offset, count), False
        )

    def _per_root(self) -> int:
        return 1 if self.memory_model == "static" else (1 << self.page_shift) // 32

    def _ext_at(self, number: int) -> int:
        return PAGE_EXT + self.entry_size * self.section_pages * number

    def _pool(self) -> bytes:
        pool = bytearray(4 << self.page_shift)
        for index, stack in enumerate(self.stacks):
            at = self._record_at(index)
            count = self.counts[index] if index < len(self.counts) else 0
            head = _u64(0) + b"".join(n.to_bytes(4, "little") for n in (0, len(stack), self.handle(index), count))
            pool[at : at + 32] = head.ljust(32, b"\0")
            pool[at + 32 : at + 32 + 8 * len(stack)] = _u64(*stack)
        return bytes(pool)


class _Types:
    """Types from a short notation: u8 to u64, `u64[3]`, `u64*`, `bits5` and the structs of a table."""

    def __init__(self, prog: drgn.Program, structs: Mapping[str, tuple[int, Members]]) -> None:
        self._prog = prog
        self._structs = structs
        self._built: dict[str, drgn.Type] = {}

    def find(self, _: drgn.Program, kinds: drgn.TypeKindSet, name: str, filename: str | None) -> drgn.Type | None:
        """The finder that drgn asks."""
        for kind, prefix in ((drgn.TypeKind.STRUCT, "struct"), (drgn.TypeKind.UNION, "union")):
            if kind in kinds and not filename and f"{prefix} {name}" in self._structs:
                return self.of(f"{prefix} {name}")
        return None

    def of(self, text: str) -> drgn.Type:
        """The type that the notation says."""
        if text not in self._built:
            self._built[text] = self._build(text)
        return self._built[text]

    def _build(self, text: str) -> drgn.Type:
        prog = self._prog
        if text.endswith("*"):
            return prog.pointer_type(prog.pointer_type(prog.void_type()))
        if match := re.fullmatch(r"(.*)\[(\d+)\]", text):
            return prog.array_type(self.of(match[1]), int(match[2]))
        if match := re.fullmatch(r"u(\d+)", text):
            return prog.int_type(text, int(match[1]) // 8, False)
        size, members = self._structs[text]
        if text.startswith("union"):
            inner = prog.struct_type(
                None, size, [self._member(name, kind, at, bits=True) for name, kind, at in members]
            )
            return prog.union_type(text.partition(" ")[2], size, [drgn.TypeMember(inner, None, 0)])
        fields = [self._member(name, kind, at) for name, kind, at in members]
        return prog.struct_type(text.partition(" ")[2], size, fields)

    def _member(self, name: str, kind: str, at: int, *, bits: bool = False) -> drgn.TypeMember:
        if bits:
            wide = drgn.Object(self._prog, self.of("u32"), bit_field_size=int(kind.removeprefix("bits")))
            return drgn.TypeMember(wide, name, at)
        return drgn.TypeMember(self.of(kind), name, 8 * at)


def _segment(prog: drgn.Program, address: int, data: bytes) -> None:
    prog.add_memory_segment(
        address, len(data), lambda _address, count, offset, _physical: data[offset : offset + count], False
    )


def _in_use(offset: int, count: int) -> bytes:
    """Struct pages that tell nothing: no type, no mapping, one reference."""
    page = (b"\0" * 48 + b"\xff\xff\xff\xff" + (1).to_bytes(4, "little")).ljust(64, b"\0")
    first = offset % 64
    return (page * ((first + count) // 64 + 1))[first : first + count]


def _u64(*numbers: int) -> bytes:
    return b"".join((number & (1 << 64) - 1).to_bytes(8, "little") for number in numbers)


def _aligned(size: int) -> int:
    return (size + 15) // 16 * 16


def _size(kind: str) -> int:
    match = re.fullmatch(r"u(\d+)(?:\[(\d+)\])?", kind)
    assert match is not None
    return int(match[1]) // 8 * int(match[2] or 1)


def stack_of(*functions: int) -> list[int]:
    """Return addresses in function_N."""
    return [TEXT + 0x100 * (n + 1) + 0x10 for n in functions]


def total(kernel: MockKernel) -> dict[Iterable[str], int]:
    """Pages per stack as the reader finds them."""
    return counted(kernel)[0]


def counted(kernel: MockKernel) -> tuple[dict[Iterable[str], int], Notes]:
    """Pages per stack as the reader finds them, and what it notes beside them."""
    from oomscope.attribution.tally import Tally
    from oomscope.model.batch import Batch
    from oomscope.sources.vmcore.reader import Reader

    tally, reader = Tally(), Reader(kernel.dump(), "mock")
    for batch in reader.batches():
        if isinstance(batch, Batch):
            tally.add(batch)
    counts = tally.counts()
    assert counts.pages is not None
    of_stack = zip(counts.stacks, counts.pages.tolist(), strict=True)
    pages: dict[Iterable[str], int] = {stack.texts: pages for stack, pages in of_stack if pages}
    return pages, reader.notes
