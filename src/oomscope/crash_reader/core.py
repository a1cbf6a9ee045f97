"""An ELF core, as /proc/vmcore is one, by physical address (fs/proc/vmcore.c)."""

from __future__ import annotations

import os
import struct
from bisect import bisect_right

from oomscope.crash_reader.errors import Unread

_PT_LOAD, _PT_NOTE, _PN_XNUM = 1, 4, 0xFFFF
_HEADER_BYTES, _PROGRAM_HEADER_BYTES = 64, 56
_MOST_HEADERS_BYTES, _MOST_NOTES_BYTES = 1 << 24, 1 << 24
_NO_ADDRESS = (1 << 64) - 1
_NOTE_NAME = b"VMCOREINFO"


class Core:
    """An open core. Raises Unread for what is none of 64 bits, OSError where it cannot be read.

    Read, never mapped: a mapping of all memory needs page tables of its own, which a crash kernel has no room for.
    """

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_RDONLY)
        head = os.pread(self._file, _HEADER_BYTES, 0)
        if len(head) < _HEADER_BYTES or head[:6] != b"\x7fELF\x02\x01":
            raise Unread(f"{path} is no ELF core of 64 bits, little endian")
        headers_at, sections_at = struct.unpack_from("<QQ", head, 32)
        count = struct.unpack_from("<H", head, 56)[0]
        if count == _PN_XNUM:  # so many that the first section header tells it
            count = struct.unpack("<I", self._at(sections_at + 44, 4))[0]
        table = self._at(headers_at, min(_PROGRAM_HEADER_BYTES * count, _MOST_HEADERS_BYTES))
        table = table[: len(table) // _PROGRAM_HEADER_BYTES * _PROGRAM_HEADER_BYTES]
        self._loads: list[tuple[int, int, int]] = []
        notes = b""
        for kind, _, offset, _, address, size, _, _ in struct.iter_unpack("<IIQQQQQQ", table):
            if kind == _PT_LOAD and size and address != _NO_ADDRESS:
                self._loads.append((address, size, offset))
            elif kind == _PT_NOTE:
                notes += self._at(offset, min(size, _MOST_NOTES_BYTES))
        self._loads.sort()
        self._starts = [load[0] for load in self._loads]
        self.vmcoreinfo = _vmcoreinfo(notes)

    def into(self, address: int, view: memoryview) -> None:
        """Fill a writable view of bytes from a physical address on. Raises Unread."""
        done = 0
        while done < len(view):
            offset, size = self._place(address + done, len(view) - done)
            try:
                got = os.preadv(self._file, [view[done : done + size]], offset)
            except (OSError, OverflowError):
                got = 0
            if got <= 0:
                raise Unread(f"physical {address + done:#x} cannot be read")
            done += got

    def _place(self, address: int, size: int) -> tuple[int, int]:
        """Where in the file, and how many bytes in one run. The kernel's own text is there twice: either will do."""
        index = bisect_right(self._starts, address) - 1
        while index >= 0:
            start, length, offset = self._loads[index]
            if address < start + length:
                return offset + address - start, min(size, start + length - address)
            index -= 1
        raise Unread(f"physical {address:#x} is not in the dump")

    def _at(self, offset: int, size: int) -> bytes:
        parts = []
        while size:
            part = os.pread(self._file, size, offset)
            if not part:
                break
            parts.append(part)
            offset, size = offset + len(part), size - len(part)
        return b"".join(parts)


def _vmcoreinfo(notes: bytes) -> dict[str, str]:
    at = 0
    while at + 12 <= len(notes):
        name_bytes, text_bytes, _ = struct.unpack_from("<III", notes, at)
        start = at + 12 + (name_bytes + 3 & ~3)
        if notes[at + 12 : at + 12 + name_bytes].rstrip(b"\0") == _NOTE_NAME:
            text = notes[start : start + text_bytes].decode("ascii", "replace")
            return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        at = start + (text_bytes + 3 & ~3)
    raise Unread("the dump has no VMCOREINFO")
