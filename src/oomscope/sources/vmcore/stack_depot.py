"""The stack depot: from a handle to the return addresses it stands for (lib/stackdepot.c).

A handle says in which pool of pages a record lies and where in it. Every record carries its own handle, by which
records are found and checked: nothing else in a pool does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import drgn
import numpy as np
import numpy.typing as npt

from oomscope.model.unknown import Unknown

if TYPE_CHECKING:
    from oomscope.sources.vmcore.dump import Dump

_ALIGN_BITS = 4  # DEPOT_STACK_ALIGN
_POOL_ORDER = 2  # DEPOT_POOL_ORDER
_DEEPEST = 256
_MOST_POOLS = 1 << 17
# include/linux/refcount.h REFCOUNT_SATURATED: what a record has that page_owner never counted on.
_SATURATED = 0xC0000000
_U32 = 0xFFFFFFFF
_HASH_SEED = 0x9747B28C  # STACK_HASH_SEED
_POOL_INDEX = ("pool_index_plus_1", "pool_index", "slabindex")


@dataclass(frozen=True, slots=True)
class Records:
    """All records of the depot, in columns of one length.

    `handle` (without KMSAN's extra bits), `address`, `entries` (how many), `count` (page_owner's own count of base
    pages from 6.9 on, 0 elsewhere).
    """

    handle: npt.NDArray[np.uint32]
    address: npt.NDArray[np.uint64]
    entries: npt.NDArray[np.uint32]
    count: npt.NDArray[np.int64]


class StackDepot:
    """The records of a kernel's depot. Raises LookupError where the kernel has none."""

    def __init__(self, dump: Dump) -> None:
        self._dump = dump
        prog = dump.prog
        self._index_shift, self._index_bits, self._offset_shift, offset_bits, plus_one = handle_parts(prog)
        self._first = 1 if plus_one else 0
        # The bits that say which record; `valid` of older kernels and `extra` do not.
        self.mask = ((1 << self._index_bits) - 1) << self._index_shift | ((1 << offset_bits) - 1) << self._offset_shift
        record = prog.type("struct stack_record")
        self._size_at = drgn.offsetof(record, "size")
        self._handle_at = drgn.offsetof(record, "handle")
        self._entries_at = drgn.offsetof(record, "entries")
        self._count_at = drgn.offsetof(record, "count") if record.has_member("count") else None
        self.records = self._read()
        self._row = {handle: row for row, handle in enumerate(self.records.handle.tolist())}
        self._hash_at = drgn.offsetof(record, "hash") if record.has_member("hash") else None
        # A kernel that hashes in another way would refute every record: then none is held against its hash.
        self._hashes = bool(len(self._row)) and any(self._is_sound(row) for row in range(min(len(self._row), 8)))

    @property
    def counts_pages(self) -> bool:
        """Whether page_owner keeps its own count per stack here (6.9 and later)."""
        return self._count_at is not None

    def return_addresses(self, handle: int) -> list[int] | None:
        """The frames of a handle, innermost first; None where the depot has no such record."""
        row = self._row.get(handle & self.mask)
        if row is None:
            return None
        at, entries = int(self.records.address[row]), int(self.records.entries[row])
        if self._hashes and not self._is_sound(row):
            self._dump.damage.append(Unknown("frames of a stack", f"the depot's record of handle {handle} is damaged"))
            return None
        addresses: list[int] = self._dump.words_at(at + self._entries_at, entries).tolist()
        return addresses

    def _is_sound(self, row: int) -> bool:
        """Whether a record's frames have the hash that the kernel stored with them."""
        if self._hash_at is None:
            return False
        at, entries = int(self.records.address[row]), int(self.records.entries[row])
        stored = int(self._dump.bytes_at(at + self._hash_at, 4).view(np.uint32)[0])
        words = self._dump.bytes_at(at + self._entries_at, 8 * entries).view(np.uint32).tolist()
        return jhash2(words, _HASH_SEED) == stored

    def handle_at(self, address: int) -> int | None:
        """The handle of the record at an address."""
        found = np.flatnonzero(self.records.address == np.uint64(address))
        return int(self.records.handle[found[0]]) if len(found) else None

    def pages_counted(self) -> dict[int, int]:
        """page_owner's own count of base pages per handle, of the stacks that it counts."""
        counted = (self.records.count > 1) & (self.records.count < _SATURATED)
        pages = self.records.count[counted] - 1
        return dict(zip(self.records.handle[counted].tolist(), pages.tolist(), strict=True))

    def _read(self) -> Records:
        handles, addresses, sizes, counts = [], [], [], []
        pool_bytes = self._dump.page_size_bytes << _POOL_ORDER
        step = 1 << _ALIGN_BITS
        places = np.arange(0, pool_bytes - self._entries_at, step, dtype=np.uint64)
        for index, pool in enumerate(self._pools()):
            raw = self._dump.bytes_at(pool, pool_bytes)
            expected = np.uint64(index + self._first) << np.uint64(self._index_shift) | (
                places >> np.uint64(_ALIGN_BITS)
            ) << np.uint64(self._offset_shift)
            handle = _u32(raw, self._handle_at, len(places)).astype(np.uint64) & np.uint64(self.mask)
            size = _u32(raw, self._size_at, len(places))
            room = (pool_bytes - self._entries_at - places) // np.uint64(8)
            here = (handle == expected) & (handle != 0) & (size > 0) & (size <= _DEEPEST) & (size <= room)
            if not self._first:
                # The very first record of older kernels is told from empty memory by its size alone.
                here[0] |= bool(index == 0 and 0 < size[0] <= _DEEPEST and handle[0] == 0)
            handles.append(handle[here].astype(np.uint32))
            addresses.append(np.uint64(pool) + places[here])
            sizes.append(size[here])
            count = np.zeros(len(places), np.int64)
            if self._count_at is not None:
                count = _u32(raw, self._count_at, len(places)).astype(np.int64)
            counts.append(count[here])
        if not handles:
            empty = np.zeros(0, np.uint32)
            return Records(empty, empty.astype(np.uint64), empty, empty.astype(np.int64))
        return Records(*(np.concatenate(column) for column in (handles, addresses, sizes, counts)))

    def _pools(self) -> list[int]:
        prog = self._dump.prog
        name = "stack_pools" if self._dump.symbols.address_of("stack_pools") is not None else "stack_slabs"
        at = prog[name].address_
        assert at is not None
        # From 6.17 on the table is allocated, and the variable points to it.
        if self._dump.symbols.address_of("stack_max_pools") is not None:
            at = int(self._dump.words_at(at, 1)[0])
        found: list[int] = []
        while len(found) < min(_MOST_POOLS, 1 << self._index_bits):
            words = self._dump.words_at(at + 8 * len(found), 512).tolist()
            used = words.index(0) if 0 in words else len(words)
            found += words[:used]
            if used < len(words):
                break
        return found


def handle_parts(prog: drgn.Program) -> tuple[int, int, int, int, bool]:
    """Shift and width of the pool's index and of the offset, and whether 1 stands for the first pool."""
    parts = {}
    for member in prog.type("union handle_parts").members:
        inner = member.type
        if inner.kind == drgn.TypeKind.STRUCT:
            for field in inner.members:
                parts[field.name] = (int(field.bit_offset), int(field.bit_field_size or 0))
    index = next(name for name in _POOL_INDEX if name in parts)
    return (*parts[index], *parts["offset"], index == "pool_index_plus_1")


def _u32(raw: npt.NDArray[np.uint8], at: int, count: int) -> npt.NDArray[np.uint32]:
    """The u32 at `at` in each of `count` places, one record alignment apart."""
    step = 1 << _ALIGN_BITS
    return (
        np.lib.stride_tricks.as_strided(raw[at:].view(np.uint8), (count, 4), (step, 1)).copy().view(np.uint32).ravel()
    )


def jhash2(words: list[int], seed: int) -> int:
    """Bob Jenkins's hash of u32 words as the kernel has it (include/linux/jhash.h)."""
    a = b = c = (0xDEADBEEF + (len(words) << 2) + seed) & _U32
    at = 0
    while len(words) - at > 3:
        a, b, c = (a + words[at]) & _U32, (b + words[at + 1]) & _U32, (c + words[at + 2]) & _U32
        for shift in (4, 6, 8):  # __jhash_mix(): each step with the three words' parts turned
            a = ((a - c) ^ _rotated(c, shift)) & _U32
            c = (c + b) & _U32
            a, b, c = b, c, a
        for shift in (16, 19, 4):
            a = ((a - c) ^ _rotated(c, shift)) & _U32
            c = (c + b) & _U32
            a, b, c = b, c, a
        at += 3
    rest = words[at:]
    if not rest:
        return c
    a, b, c = ((x + y) & _U32 for x, y in zip((a, b, c), (*rest, 0, 0)[:3], strict=True))
    for shift in (14, 11, 25, 16, 4, 14, 24):  # __jhash_final()
        c = ((c ^ b) - _rotated(b, shift)) & _U32
        a, b, c = b, c, a
    return b


def _rotated(word: int, shift: int) -> int:
    return (word << shift | word >> (32 - shift)) & _U32
