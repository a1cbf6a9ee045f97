"""makedumpfile's compressed form by layout; real dumps are cut, split and spoilt in tests/lab/test_damaged_dumps.py."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import pytest

pytest.importorskip("drgn")

import drgn

from oomscope.sources.vmcore import kdump

BLOCK = 4096
CONTENTS = {1: b"\1" * BLOCK, 3: b"\3" * BLOCK, 70: bytes(range(256)) * 16}


def written(path: Path, *, start: int = 0, end: int = 1 << 20, beyond_bytes: int = 0) -> Path:
    """A dump of version 6 with three pages; `beyond_bytes` of nothing before their contents, as in a large file."""
    bitmap = bytearray(BLOCK)
    for pfn in CONTENTS:
        bitmap[pfn >> 3] |= 1 << (pfn & 7)
    header = bytearray(BLOCK)
    struct.pack_into("<8si", header, 0, b"KDUMP   ", 6)
    struct.pack_into("<iiII", header, 428, BLOCK, 1, 2, 128)
    sub = bytearray(BLOCK)
    struct.pack_into("<Qii", sub, 0, 0, 31, int(bool(start)))
    struct.pack_into("<QQQ", sub, 80, start, end, 128)
    at = 5 * BLOCK + beyond_bytes
    rows, data = b"", b""
    for pfn, content in CONTENTS.items():
        if start <= pfn < end:
            packed = zlib.compress(content)
            rows += struct.pack("<QIIQ", at + len(data), len(packed), 1, 0)
            data += packed
    with path.open("wb") as file:
        file.write(bytes(header) + bytes(sub) + bytes(bitmap) * 2 + rows)
        file.seek(at)
        file.write(data)
    return path


def test_each_page_is_where_it_belongs(tmp_path: Path) -> None:
    """Also across two pages; what is not in the dump is a fault at its own address."""
    dump = kdump.Kdump(written(tmp_path / "vmcore"))
    assert dump.lacks is None
    assert dump.read(70 * BLOCK + 255, 2, 0, True) == b"\xff\0"
    with pytest.raises(drgn.FaultError) as fault:
        dump.read(BLOCK - 1, 2, 0, True)
    assert fault.value.address == 0


@pytest.mark.parametrize("beyond_bytes", [0, 5 << 30])
def test_the_end_that_is_missing_is_counted(tmp_path: Path, beyond_bytes: int) -> None:
    """To the page, and in files of more than 4 GiB, too."""
    path = written(tmp_path / "vmcore", beyond_bytes=beyond_bytes)
    assert kdump.missing_end(path) is None
    os.truncate(path, path.stat().st_size - 1)
    assert kdump.missing_end(path) == "cut short: 2 of 3 pages are there"
    os.truncate(path, 4 * BLOCK + 30)
    assert kdump.missing_end(path) == "cut short: 0 of 3 pages are there"


def test_a_part_of_a_split_dump_has_its_own_pages(tmp_path: Path) -> None:
    """Its bitmaps are of the whole; its descriptors are not."""
    dump = kdump.Kdump(written(tmp_path / "vmcore", start=3, end=71))
    assert dump.lacks == "one part of a split dump: page frames 0 to 3, 71 to 128 are in others"
    assert dump.read(70 * BLOCK, 4, 0, True) == bytes(range(4))
    with pytest.raises(drgn.FaultError):
        dump.read(BLOCK, 1, 0, True)


def test_parts_of_a_split_dump_are_read_as_one(tmp_path: Path) -> None:
    """Found beside each other in whatever order; another dump's part is none of them, and what is left out is told."""
    second = written(tmp_path / "1", start=4, end=128)
    first = written(tmp_path / "2", start=1, end=4)
    whole, text = written(tmp_path / "whole"), tmp_path / "text"
    text.write_text("no dump")
    assert kdump.parts(first, [text, whole, second]) == kdump.parts(second, [first]) == (first, second)
    assert kdump.parts(whole, [first, second]) == ()
    dump = kdump.Kdump(first, (second,))
    assert (dump.read(BLOCK, 1, 0, True), dump.read(70 * BLOCK, 4, 0, True)) == (b"\1", bytes(range(4)))
    assert dump.lacks == "2 parts of a split dump: page frames 0 to 1 are in others"
    with pytest.raises(drgn.FaultError):
        dump.read(2 * BLOCK, 1, 0, True)


def test_copies_of_a_part_are_one_part(tmp_path: Path) -> None:
    """By another name, by a link: the first by name stands for all, and is read once."""
    first, second = written(tmp_path / "1", start=1, end=4), written(tmp_path / "2", start=4, end=128)
    copy, link = written(tmp_path / "3", start=1, end=4), tmp_path / "4"
    link.symlink_to(first)
    given = [link, copy, second, first]
    assert {kdump.parts(path, given) for path in given} == {(first, second)}


def test_a_flattened_file_is_not_unpacked_to_ask_whether_it_is_a_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not itself, and not as somebody's neighbour."""
    monkeypatch.setattr(kdump, "_unflattened", lambda path: pytest.fail(f"{path} was unpacked"))
    flat, part = tmp_path / "flat", written(tmp_path / "1", start=1, end=4)
    flat.write_bytes(b"makedumpfile\0".ljust(5000, b"\0"))
    assert kdump.parts(flat, [part]) == ()
    assert kdump.parts(part, [flat]) == (part,)


def test_parts_packed_in_a_form_that_is_not_read_are_told(tmp_path: Path) -> None:
    """LZO and snappy: not that pages were missing, but why they cannot be had."""
    first, second = written(tmp_path / "1", start=1, end=4), written(tmp_path / "2", start=4, end=128)
    raw = bytearray(second.read_bytes())
    struct.pack_into("<I", raw, 4 * BLOCK + 12, 2)
    second.write_bytes(raw)
    lacks = kdump.Kdump(first, (second,)).lacks
    assert lacks is not None
    assert "LZO" in lacks


def test_a_page_that_unpacks_to_more_or_less_is_not_there(tmp_path: Path) -> None:
    """A bomb takes no more room than a page, and a damaged one is a fault."""
    path = written(tmp_path / "vmcore")
    with path.open("r+b") as file:
        file.seek(5 * BLOCK)
        file.write(b"\0\0\0\0")
    with pytest.raises(drgn.FaultError):
        kdump.Kdump(path).read(BLOCK, 1, 0, True)
