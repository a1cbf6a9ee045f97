"""/proc/vmallocinfo (mm/vmalloc.c vmalloc_info_show()): who mapped pages into the vmalloc area."""

from __future__ import annotations

import re

from oomscope import bounds
from oomscope.model.account import ADDRESS_SPACE, BYTES, PAGES, VMALLOC_CALLER
from oomscope.model.reading import Notes
from oomscope.sources.base import AccountSource
from oomscope.sources.entries import Entries
from oomscope.text import Lines, first_line, printable

# Addresses are hashed, and before there is entropy for that they are only said to be pointers (lib/vsprintf.c).
_ADDRESS = rb"0x(?:[0-9a-f]{8,16}|\(_{0,4}ptrval_{0,4}\))"
_AREA = re.compile(rb" *+" + _ADDRESS + rb"-" + _ADDRESS + rb" +(?P<size>\d{1,18})(?P<rest>.*)")
_CALLER = re.compile(
    rb" (?P<caller>[^\s+]{1,200})(?:\+0x[0-9a-f]{1,16}/0x[0-9a-f]{1,16})?(?: \[(?P<module>[^\]]{1,64})\])?(?= |$)"
)
_PAGES = re.compile(rb" pages=(?P<pages>\d{1,15})(?= |$)")


def _recognises(head: bytes) -> bool:
    """A range of addresses at the very beginning."""
    return _AREA.match(first_line(head)) is not None


def _read(rows: Lines) -> Notes:
    """`notes.accounts.tables` has the callers by pages, and by the address space that has no pages of its own.

    Of ioremap and the like that is all there is; chunks of per-cpu memory get their pages one by one.
    """
    notes = Notes()
    found, addresses = Entries(notes), Entries(notes)
    for line in rows:
        area = _AREA.match(line or b"")
        if area is None:
            notes.stats.unknown_lines += line != b""
            continue
        # Kernels that do not show addresses print the same for all.
        if b"ptrval" not in area[0] and found.is_begun_anew(printable(area[0])):
            addresses = Entries(notes)
        mapped = _PAGES.search(area["rest"])
        caller = _CALLER.match(area["rest"])
        if caller is None:
            continue
        module = None if caller["module"] is None else printable(caller["module"])
        if mapped is None:
            addresses.merge(printable(caller["caller"]), int(area["size"]), module)
            continue
        if int(mapped["pages"]) > bounds.PAGES:
            notes.stats.corrupt_records += 1
            continue
        found.merge(printable(caller["caller"]), int(mapped["pages"]), module)
    notes.accounts.tables = (
        *found.account(VMALLOC_CALLER, PAGES, "areas"),
        *addresses.account(ADDRESS_SPACE, BYTES, "areas"),
    )
    return notes


VMALLOCINFO = AccountSource("vmallocinfo", _recognises, _read)
