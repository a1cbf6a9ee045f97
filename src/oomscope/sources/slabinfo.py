"""/proc/slabinfo (mm/slab_common.c slabinfo_show(), 2.1): the slabs of every cache."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from oomscope.model.batch import Batch
from oomscope.model.ledger import PAGES, SLAB_CACHE, Entry, ledger
from oomscope.model.reading import Notes
from oomscope.sources.base import lines, printable

_ROW = re.compile(
    rb"(?P<name>\S.{0,80}?) +(?P<active>\d{1,15}) +\d{1,15} +\d{1,12} +\d{1,9} +(?P<pages>\d{1,6}) +"
    rb": tunables .{1,80}: slabdata +\d{1,15} +(?P<slabs>\d{1,15}) "
)


class SlabinfoText:
    """The format: its first line."""

    format = "slabinfo"
    separator: bytes | None = None

    def recognises(self, head: bytes) -> bool:
        """`slabinfo - version: 2.1` at the very beginning."""
        return head.startswith(b"slabinfo - version: ")

    def parser(self, *, ranking_only: bool) -> SlabinfoParser:  # noqa: ARG002 - it has nothing to leave out
        """A parser for one file."""
        return SlabinfoParser()


class SlabinfoParser:
    """Yields no rows; `notes.ledgers` has the caches, their pages and objects in use; see Parser."""

    def __init__(self) -> None:
        self.notes = Notes()

    def batches(self, chunks: Iterable[bytes]) -> Iterator[Batch]:
        """No rows."""
        found = []
        for line in lines(chunks):
            match = _ROW.match(line or b"")
            if match is None:
                self.notes.unknown_lines += line != b"" and not (line or b"").startswith((b"#", b"slabinfo"))
                continue
            pages = int(match["pages"]) * int(match["slabs"])
            found.append(Entry(printable(match["name"]), pages, int(match["active"])))
        self.notes.ledgers = ledger(SLAB_CACHE, PAGES, "objects in use", found)
        yield from ()
