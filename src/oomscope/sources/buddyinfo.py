"""/proc/buddyinfo (mm/vmstat.c frag_show()): free blocks of each zone by order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from oomscope.model.batch import Batch
from oomscope.model.free_area import FreeArea
from oomscope.model.reading import Notes
from oomscope.sources.base import lines, printable

_ROW = re.compile(rb"Node (?P<node>\d{1,5}), zone +(?P<zone>\S{1,20}) (?P<counts>(?: *\d{1,12}){2,20}) *")


class BuddyinfoText:
    """The format: a zone and its counts in the first line."""

    format = "buddyinfo"
    separator: bytes | None = None

    def recognises(self, head: bytes) -> bool:
        """A whole row at the very beginning."""
        return _ROW.fullmatch(head.partition(b"\n")[0].rstrip(b"\r")) is not None

    def parser(self, *, ranking_only: bool) -> BuddyinfoParser:  # noqa: ARG002 - it has nothing to leave out
        """A parser for one file."""
        return BuddyinfoParser()


class BuddyinfoParser:
    """Yields no rows; `notes.free_blocks` has the zones; see Parser."""

    def __init__(self) -> None:
        self.notes = Notes()

    def batches(self, chunks: Iterable[bytes]) -> Iterator[Batch]:
        """No rows."""
        found = []
        for line in lines(chunks):
            row = _ROW.fullmatch(line or b"")
            if row is None:
                self.notes.unknown_lines += line != b""
                continue
            counts = tuple(map(int, row["counts"].split()))
            found.append(FreeArea(int(row["node"]), printable(row["zone"]), None, counts))
        self.notes.free_blocks = tuple(found)
        yield from ()
