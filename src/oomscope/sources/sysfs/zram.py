"""/sys/block/zramN/mm_stat (drivers/block/zram/zram_drv.c mm_stat_show()): what a compressed disk holds in memory.

The file does not say which disk it is of: the kernel says that in the name of its folder.
"""

from __future__ import annotations

import re
from dataclasses import replace

from oomscope import bounds
from oomscope.model.account import BYTES, ZRAM_DISK, Entry, account
from oomscope.model.reading import Notes, Reading
from oomscope.sources.base import AccountSource
from oomscope.text import Lines
from oomscope.units import bytes_text

# orig_data_size, compr_data_size, mem_used_total, mem_limit, mem_used_max, same_pages, pages_compacted; huge_pages from
# 4.18 on, huge_pages_since from 5.15 on. Numbers are right-aligned in eight columns.
_ROW = re.compile(rb"(?P<stored> *\d{1,20}) (?P<compressed> *\d{1,20}) (?P<used> *\d{1,20})(?: +-?\d{1,20}){4,6}")
_LEAST_BYTES = 7 * 9 - 1
_UNNAMED = "zram"
_DISK = re.compile(r"(?P<disk>zram\d{1,4})[/.:]mm_stat")


def _recognises(head: bytes) -> bool:
    """Only the line, of the width that the kernel gives it."""
    line = head.rstrip(b"\r\n")
    return len(line) >= _LEAST_BYTES and _ROW.fullmatch(line) is not None


def _read(rows: Lines) -> Notes:
    """`notes.accounts.tables` has the one disk: the memory it takes, and its pages."""
    notes = Notes()
    entries: list[Entry] = []
    for line in rows:
        row = _ROW.fullmatch(line or b"")
        if row is None or entries or int(row["used"]) > bounds.ROW_BYTES:
            notes.stats.unknown_lines += line != b""
            continue
        place = f"{bytes_text(int(row['stored']))} stored, {bytes_text(int(row['compressed']))} compressed"
        entries.append(Entry(_UNNAMED, int(row["used"]), 1, None, place))
    notes.accounts.tables = account(ZRAM_DISK, BYTES, "disks", entries)
    return notes


def _located(reading: Reading) -> Reading:
    """With the disk that its folder names."""
    if disk := _DISK.search(reading.origin):
        notes = reading.notes
        notes.accounts.tables = tuple(
            replace(each, entries=tuple(replace(entry, name=disk["disk"]) for entry in each.entries))
            for each in notes.accounts.tables
        )
    return reading


ZRAM = AccountSource("zram mm_stat", _recognises, _read, _located)
