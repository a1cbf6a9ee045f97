"""/proc/slabinfo (mm/slab_common.c slabinfo_show(), 2.1): the slabs of every cache."""

from __future__ import annotations

import re

from oomscope import bounds
from oomscope.model.account import PAGES, SLAB_CACHE
from oomscope.model.reading import Notes
from oomscope.sources.base import AccountSource
from oomscope.sources.entries import Entries
from oomscope.text import Lines, printable

_ROW = re.compile(
    rb"(?P<name>\S(?:\S| (?=\S)){0,80}?) ++(?P<active>\d{1,15}) ++\d{1,15} ++(?P<size>\d{1,12}) ++(?P<each>\d{1,9}) ++"
    rb"(?P<pages>\d{1,6}) ++"
    rb": tunables .{1,80}?: slabdata ++\d{1,15} ++(?P<slabs>\d{1,15}) "
)
_PAGE_BYTES = (4096, 8192, 16384, 65536)


def _recognises(head: bytes) -> bool:
    """`slabinfo - version: 2.1` at the very beginning."""
    return head.startswith(b"slabinfo - version: ")


def _read(rows: Lines) -> Notes:
    """`notes.accounts.tables` has the caches, their pages and objects in use."""
    notes = Notes()
    found = Entries(notes)
    fitting = set(_PAGE_BYTES)
    for line in rows:
        match = _ROW.match(line or b"")
        if match is None:
            notes.stats.unknown_lines += line != b"" and not (line or b"").startswith((b"#", b"slabinfo"))
            continue
        pages = int(match["pages"]) * int(match["slabs"])
        if pages > bounds.PAGES:
            notes.stats.corrupt_records += 1
            continue
        found.is_begun_anew(name := printable(match["name"]))
        found.add(name, pages, int(match["active"]))
        fitting &= _fitting(int(match["size"]), int(match["each"]), int(match["pages"]))
    if len(fitting) == 1:
        notes.accounts.page_bytes = next(iter(fitting))
    notes.accounts.tables = found.account(SLAB_CACHE, PAGES, "objects in use")
    return notes


def _fitting(object_bytes: int, per_slab: int, pages: int) -> set[int]:
    """The page sizes with which as many objects fill a slab: SLUB puts in as many as fit (order_objects())."""
    return {size for size in _PAGE_BYTES if object_bytes and pages * size // object_bytes == per_slab}


SLABINFO = AccountSource("slabinfo", _recognises, _read)
