"""/sys/kernel/debug/dma_buf/bufinfo (drivers/dma-buf/dma-buf.c dma_buf_debug_show()): buffers that devices share."""

from __future__ import annotations

import re

from oomscope.model.account import BYTES, DMA_BUFFER
from oomscope.model.reading import Notes
from oomscope.sources.base import AccountSource
from oomscope.sources.entries import Entries
from oomscope.text import Lines, printable

_TITLE = b"Dma-buf Objects:"
# size, flags, mode, references, exporter, inode, name; a name is what user space gave it, and may hold anything.
_BUFFER = re.compile(
    rb"(?P<size>\d{8,18})\s++[0-9a-f]{8}\s++[0-9a-f]{8}\s++-?\d{8,20}\s++(?P<exporter>\S{1,200})"
    rb"(?:\s++\d{8,20}\s*+(?P<name>.*)|\s*+$)"
)
_TOTAL = re.compile(rb"Total (?P<buffers>\d{1,12}) objects, (?P<size>\d{1,20}) bytes")
_ABOUT = re.compile(rb"|size *\tflags.*|\t.*|Total \d{1,12} devices attached")


def _recognises(head: bytes) -> bool:
    """`Dma-buf Objects:` at the very beginning."""
    return head.lstrip(b"\r\n").startswith(_TITLE)


def _read(rows: Lines) -> Notes:
    """`notes.accounts.tables` has the buffers by exporter and name.

    A file without its last line, the kernel's own total, is cut off; one that adds up to less has spoilt records.
    """
    notes = Notes()
    held = Entries(notes)
    total: int | None = None
    for line in rows:
        line = b"\0" if line is None else line
        if buffer := _BUFFER.fullmatch(line):
            name = printable(buffer["name"] or b"")
            held.merge(printable(buffer["exporter"]), int(buffer["size"]), None, "" if name == "<none>" else name)
            notes.stats.records += 1
        elif told := _TOTAL.fullmatch(line):
            total = int(told["buffers"])
        elif line != _TITLE and _ABOUT.fullmatch(line) is None:
            notes.stats.unknown_lines += 1
    notes.stats.cut_off = total is None
    notes.stats.corrupt_records = max((total or 0) - notes.stats.records, 0)
    notes.accounts.tables = held.account(DMA_BUFFER, BYTES, "buffers")
    return notes


DMA_BUF = AccountSource("dma_buf bufinfo", _recognises, _read)
