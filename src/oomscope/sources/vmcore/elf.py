"""The headers of an ELF file of 64 bits, little endian: what lies where in it. Offsets beyond the file lead nowhere."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

_MAGIC = b"\x7fELF\x02\x01"
_HEADER_BYTES, _SEGMENT_BYTES, _SECTION_BYTES = 64, 56, 64


class Extent(NamedTuple):
    """A segment or a section: its type, and its bytes in the file."""

    kind: int
    offset: int
    size: int


class Headers(NamedTuple):
    """Segments and sections, in the file's order; a table that is not whole in the file is empty."""

    segments: tuple[Extent, ...]
    sections: tuple[Extent, ...]


def headers(path: Path) -> Headers | None:
    """The headers; None where it is no such file. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
        if not head.startswith(_MAGIC) or len(head) < _HEADER_BYTES:
            return None
        segments_at, sections_at = struct.unpack_from("<QQ", head, 32)
        segment_bytes, segments, section_bytes, sections = struct.unpack_from("<HHHH", head, 54)
        size = os.fstat(file.fileno()).st_size
        found = tuple(
            Extent(kind, offset, length)
            for row in _rows(file, size, segments_at, segment_bytes, segments, _SEGMENT_BYTES)
            for kind, _, offset, _, _, length in (struct.unpack_from("<IIQQQQ", row),)
        )
        parts = tuple(
            Extent(kind, offset, length)
            for row in _rows(file, size, sections_at, section_bytes, sections, _SECTION_BYTES)
            for kind, _, _, offset, length in (struct.unpack_from("<IQQQQ", row, 4),)
        )
        return Headers(found, parts)


def tells_physical_addresses(path: Path) -> bool:
    """Whether any segment says where its memory lies physically: cores of machines do, of processes do not."""
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
        if not head.startswith(_MAGIC) or len(head) < _HEADER_BYTES:
            return False
        (segments_at,), (segment_bytes, segments) = (
            struct.unpack_from("<Q", head, 32),
            struct.unpack_from("<HH", head, 54),
        )
        size = os.fstat(file.fileno()).st_size
        rows = _rows(file, size, segments_at, segment_bytes, segments, _SEGMENT_BYTES)
        return any(struct.unpack_from("<Q", row, 24)[0] for row in rows)


def content(path: Path, extent: Extent, most: int) -> bytes:
    """The bytes of an extent, `most` of them; empty where they are not in the file. Raises OSError."""
    with path.open("rb") as file:
        if extent.offset >= os.fstat(file.fileno()).st_size:
            return b""
        file.seek(extent.offset)
        return file.read(min(extent.size, most))


def _rows(file: IO[bytes], size: int, at: int, row_bytes: int, rows: int, least: int) -> Iterator[bytes]:
    if row_bytes < least or at + row_bytes * rows > size:
        return
    file.seek(at)
    table = file.read(row_bytes * rows)
    yield from (table[start : start + least] for start in range(0, len(table) - least + 1, row_bytes))
