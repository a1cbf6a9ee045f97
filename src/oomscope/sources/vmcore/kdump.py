"""makedumpfile's compressed dumps, page by page, as far as they go: for files that lack a part.

The library that reads whole ones looks for the kernel's code when it opens a file, through page tables that may be in
the part that is gone. Layout: makedumpfile's diskdump_mod.h; the flattened form is of makedumpfile.h.
"""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
import weakref
import zlib
from collections.abc import Iterable
from functools import cached_property, lru_cache
from pathlib import Path

import drgn
import numpy as np
import numpy.typing as npt

from oomscope.errors import CorruptInput, NoAccess

_MAGIC, _FLATTENED = b"KDUMP   ", b"makedumpfile\0"
_MACHINE_AT, _MACHINE_BYTES = 12 + 4 * 65, 65  # utsname.machine
_HEADER = struct.Struct("<iiII")  # block_size, sub_hdr_size, bitmap_blocks, max_mapnr
_HEADER_AT = 428
_SUB_HEADER = struct.Struct("<QiiQQQQ")  # phys_base, dump_level, split, start_pfn, end_pfn, VMCOREINFO's place and size
_PFNS_OF_64_BITS = struct.Struct("<QQ")
_PFNS_OF_64_BITS_AT, _MAX_MAPNR_OF_64_BITS_AT, _SINCE_VERSION = 80, 96, 6
_DESCRIPTOR = np.dtype([("offset", "<u8"), ("size", "<u4"), ("flags", "<u4"), ("page_flags", "<u8")])
_ZLIB, _LZO, _SNAPPY, _ZSTD = 1, 2, 4, 0x20
_RECORD = struct.Struct(">qq")  # of the flattened form: where in the file, and how much
_FLATTENED_HEADER_BYTES = 4096
_ELF_MACHINES = {b"x86_64": 62, b"aarch64": 183, b"ppc64le": 21, b"riscv64": 243}
_MOST_VMCOREINFO_BYTES, _MOST_BLOCK_BYTES, _MOST_PAGES = 1 << 16, 1 << 16, 1 << 34
_LAST_DESCRIPTORS = 4096
_BITS_OF_BYTE = np.array([byte.bit_count() for byte in range(256)], np.uint8)
_PAGES_REMEMBERED, _CHUNK_BYTES = 4096, 1 << 20


class Kdump:
    """An open file, closed when nobody has it any more; with the other parts, where it is one of a split dump."""

    def __init__(self, path: Path, others: tuple[Path, ...] = ()) -> None:
        """Raises CorruptInput where its headers are not there."""
        self._fd = _unflattened(path) if _is_flattened(path) else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._fd)
        self._size = os.fstat(self._fd).st_size
        head = self._bytes(0, 4096)
        if not head.startswith(_MAGIC) or len(head) < 4096:
            raise CorruptInput("its first header is not in it", advice="")
        version = struct.unpack_from("<i", head, 8)[0]
        self._machine = _ELF_MACHINES.get(head[_MACHINE_AT:][:_MACHINE_BYTES].split(b"\0")[0])
        self.page_bytes, sub_blocks, bitmap_blocks, max_mapnr = _HEADER.unpack_from(head, _HEADER_AT)
        if not 4096 <= self.page_bytes <= _MOST_BLOCK_BYTES or sub_blocks < 1 or bitmap_blocks < 2:
            raise CorruptInput("its header is damaged", advice="")
        sub = self._bytes(self.page_bytes, self.page_bytes)
        if len(sub) < self.page_bytes:
            raise CorruptInput("its second header is not in it", advice="")
        _, _, is_part, start_pfn, end_pfn, told_at, told_bytes = _SUB_HEADER.unpack_from(sub)
        if version >= _SINCE_VERSION:
            start_pfn, end_pfn = _PFNS_OF_64_BITS.unpack_from(sub, _PFNS_OF_64_BITS_AT)
        self._vmcoreinfo = self._bytes(told_at, min(told_bytes, _MOST_VMCOREINFO_BYTES)) if version >= 3 else b""
        half = bitmap_blocks // 2 * self.page_bytes
        if version >= _SINCE_VERSION:
            (max_mapnr,) = struct.unpack_from("<Q", sub, _MAX_MAPNR_OF_64_BITS_AT)
        if half > max_mapnr // 8 + 2 * self.page_bytes:
            raise CorruptInput("its header is damaged", advice="")
        bitmap = self._bytes((1 + sub_blocks) * self.page_bytes + half, half)
        if len(bitmap) < half:
            needed = (1 + sub_blocks) * self.page_bytes + 2 * half
            there = f"cut short: {self._size:,} of more than {needed:,} bytes are there"
            raise CorruptInput(f"the list of its pages is not in it; {there}", advice="")
        self._bitmap, self._max_mapnr = np.frombuffer(bitmap, np.uint8), max_mapnr
        self._descriptors_at = (1 + sub_blocks + bitmap_blocks) * self.page_bytes
        self.part: tuple[int, int] | None = (start_pfn, end_pfn) if is_part == 1 else None
        self._others = [Kdump(other) for other in others]
        self.page = lru_cache(maxsize=_PAGES_REMEMBERED)(self._page)

    @cached_property
    def lacks(self) -> str | None:
        """One clause on what of its pages is not in it, None where all are."""
        announced, (_, descriptors) = self._announced_pages, self._pages
        there = int(np.count_nonzero((descriptors["offset"] > 0) & self._ends_within(descriptors)))
        if there < announced:
            return f"cut short: {there:,} of {announced:,} pages are there"
        if any(other.is_packed_otherwise for other in (self, *self._others)):
            return "its pages are packed by LZO or snappy, which are not read here: put it together with makedumpfile"
        if any(other.ends_early() for other in self._others):
            return "a part of it is cut short"
        parts = sorted(part for part in (self.part, *(other.part for other in self._others)) if part is not None)
        end, gaps = 0, list[str]()
        for first, last in parts:
            if first > end:
                gaps.append(f"{end:,} to {first:,}")
            end = max(end, last)
        if parts and end < self._max_mapnr:
            gaps.append(f"{end:,} to {self._max_mapnr:,}")
        if not gaps:
            return None
        of_it = "one part" if len(parts) == 1 else f"{len(parts)} parts"
        return f"{of_it} of a split dump: page frames {', '.join(gaps)} are in others"

    def is_of_the_same(self, other: Kdump) -> bool:
        """Whether both are of one dump: of one kernel's one boot, which its VMCOREINFO tells."""
        told = (self._machine, self._vmcoreinfo, self._max_mapnr)
        return told == (other._machine, other._vmcoreinfo, other._max_mapnr)

    @property
    def is_packed_otherwise(self) -> bool:
        """Whether pages are packed in a form that is not read here."""
        return bool((self._pages[1]["flags"] & (_LZO | _SNAPPY)).any())

    def ends_early(self) -> bool:
        """Whether the file ends before its pages do, by the last of them: they are written in their order."""
        pages = self._announced_pages
        last = min(pages, _LAST_DESCRIPTORS)
        raw = self._bytes(self._descriptors_at + (pages - last) * _DESCRIPTOR.itemsize, last * _DESCRIPTOR.itemsize)
        if len(raw) < last * _DESCRIPTOR.itemsize:
            return True
        rows = np.frombuffer(raw, _DESCRIPTOR)
        return not bool(self._ends_within(rows).all())

    def _ends_within(self, rows: np.ndarray[tuple[int, ...], np.dtype[np.void]]) -> npt.NDArray[np.bool_]:
        """Whether each page's content ends before the file does, however far its descriptor points."""
        room = self._size - rows["size"].astype(np.int64)
        inside: npt.NDArray[np.bool_] = (room >= 0) & (rows["offset"] <= room.clip(0).astype(np.uint64))
        return inside

    @cached_property
    def _pages(self) -> tuple[npt.NDArray[np.int64], np.ndarray[tuple[int, ...], np.dtype[np.void]]]:
        """The page frames whose descriptors are in the file, and these."""
        most = max(self._size - self._descriptors_at, 0) // _DESCRIPTOR.itemsize
        found, pages = [np.zeros(0, np.int64)], 0
        for start in range(0, len(self._bitmap), _CHUNK_BYTES):
            if pages >= most:
                break
            bits = np.unpackbits(self._bitmap[start : start + _CHUNK_BYTES], bitorder="little")
            found.append(self._in_part(np.flatnonzero(bits) + 8 * start))
            pages += len(found[-1])
        pfns = np.concatenate(found)[:most]
        raw = self._bytes(self._descriptors_at, len(pfns) * _DESCRIPTOR.itemsize)
        return pfns, np.frombuffer(raw[: len(pfns) * _DESCRIPTOR.itemsize], _DESCRIPTOR)

    @cached_property
    def _announced_pages(self) -> int:
        if self.part is None:
            return int(_BITS_OF_BYTE[self._bitmap].sum(dtype=np.int64))
        first, last = (min(pfn, 8 * len(self._bitmap)) for pfn in self.part)
        around = np.unpackbits(self._bitmap[first // 8 : -(-last // 8)], bitorder="little")
        return int(around[first % 8 : first % 8 + max(last - first, 0)].sum(dtype=np.int64))

    def _in_part(self, pfns: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        if self.part is None:
            return pfns
        first, last = (min(pfn, 8 * len(self._bitmap)) for pfn in self.part)
        inside: npt.NDArray[np.int64] = pfns[(pfns >= first) & (pfns < last)]
        return inside

    def read(self, address: int, count: int, _offset: int, _is_physical: bool) -> bytes:
        """Physical memory, for drgn. Raises drgn.FaultError where a page is not in the file."""
        found = bytearray()
        while len(found) < count:
            pfn, at = divmod(address + len(found), self.page_bytes)
            found += self.page(pfn)[at : at + count - len(found)]
        return bytes(found)

    def program(self) -> drgn.Program:
        """The memory in it, opened by drgn. Raises CorruptInput where it does not tell of its kernel."""
        if self._machine is None or b"OSRELEASE=" not in self._vmcoreinfo:
            raise CorruptInput("the part that tells where the kernel lies is not in it", advice="")
        program = drgn.Program()
        with tempfile.NamedTemporaryFile(prefix="oomscope-") as headers:
            headers.write(_elf(self._machine, self._vmcoreinfo))
            headers.flush()
            program.set_core_dump(headers.name)
        program.add_memory_segment(0, 1 << 52, self.read, physical=True)
        return program

    def _page(self, pfn: int) -> bytes:
        pfns, descriptors = self._pages
        at = int(np.searchsorted(pfns, pfn))
        if at < len(descriptors) and int(pfns[at]) == pfn:
            row = descriptors[at]
            content = self._bytes(int(row["offset"]), min(int(row["size"]), self.page_bytes))
            try:
                content = _unpacked(content, int(row["flags"]), self.page_bytes)
            except (zlib.error, ValueError, MemoryError):
                content = b""
            if len(content) == self.page_bytes:
                return content
        for other in self._others:
            try:
                return other.page(pfn)
            except drgn.FaultError:
                continue
        raise drgn.FaultError("the page is not in the dump", pfn * self.page_bytes)

    def _bytes(self, at: int, size: int) -> bytes:
        """Fewer where the file ends."""
        return os.pread(self._fd, min(size, self._size - at), at) if 0 <= at < self._size else b""


def is_kdump(path: Path) -> bool:
    """Whether a file begins as makedumpfile's compressed form does, flattened or not."""
    with path.open("rb") as file:
        head = file.read(len(_FLATTENED))
    return head.startswith(_MAGIC) or head == _FLATTENED


def parts(path: Path, beside: Iterable[Path]) -> tuple[Path, ...]:
    """The parts of the split dump that a file is one of, as far as they are beside it, in the order of their pages.

    Empty where it is none, or is flattened: only a whole one unpacks. Of copies of one part the first by name is taken.
    """
    this = _part_of_a_split_dump(path)
    if this is None:
        return ()
    found = {this.part: path}
    for other in sorted({path, *beside}):
        that = _part_of_a_split_dump(other)
        if that is not None and this.is_of_the_same(that):
            found[that.part] = min(other, found.get(that.part, other))
    return tuple(each for _, each in sorted(found.items()))


def _part_of_a_split_dump(path: Path) -> Kdump | None:
    try:
        if not is_kdump(path) or _is_flattened(path):
            return None
        found = Kdump(path)
    except (CorruptInput, OSError):
        return None
    return None if found.part is None else found


def require_headers(path: Path) -> None:
    """Raises CorruptInput where a file that is not flattened ends in its headers: drgn maps them, and dies of it."""
    if not _is_flattened(path):
        Kdump(path)


def missing_end(path: Path) -> str | None:
    """One clause where the file ends before its pages do; None where it does not, or is of the flattened form."""
    found = _as_it_lies(path)
    return found.lacks if found is not None and found.ends_early() else None


def missing_parts(path: Path) -> str | None:
    """One clause where it is a part of a split dump; None where it is none, or of the flattened form."""
    found = _as_it_lies(path)
    return None if found is None or found.part is None else found.lacks


def _as_it_lies(path: Path) -> Kdump | None:
    """The file, unless it would have to be put together first, or its headers are not in it."""
    if _is_flattened(path):
        return None
    try:
        return Kdump(path)
    except CorruptInput:
        return None


def lacks_something(path: Path) -> bool:
    """Whether not all of its pages are in it."""
    try:
        return Kdump(path).lacks is not None
    except CorruptInput:
        return True


def _is_flattened(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_FLATTENED)) == _FLATTENED


def _unflattened(path: Path) -> int:
    """A file without a name: the records up to the one that ends the file, or is not whole, each where it belongs."""
    with path.open("rb") as source, tempfile.TemporaryFile(prefix="oomscope-") as file:
        source.seek(_FLATTENED_HEADER_BYTES)
        while len(head := source.read(_RECORD.size)) == _RECORD.size:
            start, length = _RECORD.unpack(head)
            if start < 0 or length <= 0:
                break
            if start + length > _MOST_PAGES * _MOST_BLOCK_BYTES:
                break
            file.seek(start)
            while length and (chunk := source.read(min(length, _CHUNK_BYTES))):
                if not chunk.strip(b"\0"):
                    file.seek(len(chunk), os.SEEK_CUR)
                elif shutil.disk_usage(tempfile.gettempdir()).free < len(chunk):
                    advice = "unpack it yourself with makedumpfile -R, or set TMPDIR to a larger file system"
                    raise NoAccess(f"no room in {tempfile.gettempdir()} to unpack it", advice=advice)
                else:
                    file.write(chunk)
                length -= len(chunk)
            if length:
                break
        file.flush()
        return os.dup(file.fileno())


def _unpacked(content: bytes, flags: int, page_bytes: int) -> bytes:
    if flags & _ZLIB:
        return zlib.decompressobj().decompress(content, page_bytes)
    if flags & _ZSTD:
        import zstandard

        try:
            with zstandard.ZstdDecompressor().stream_reader(content) as reader:
                return reader.read(page_bytes)
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from error
    if flags & (_LZO | _SNAPPY):
        raise ValueError("LZO and snappy are not read here")
    return content


def _elf(machine: int, vmcoreinfo: bytes) -> bytes:
    """An ELF core with nothing but VMCOREINFO's note: its memory comes from elsewhere."""
    name = b"VMCOREINFO\0"
    text = vmcoreinfo.rstrip(b"\0")
    note = struct.pack("<III", len(name), len(text), 0) + name.ljust(12, b"\0") + text + bytes(-len(text) % 4)
    identity = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = identity + struct.pack("<HHIQQQIHHHHHH", 4, machine, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 4, 0, 64 + 56, 0, 0, len(note), len(note), 4)
    return header + segment + note
