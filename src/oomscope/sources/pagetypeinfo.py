"""/proc/pagetypeinfo (mm/vmstat.c pagetypeinfo_show()): free blocks of each zone by order and migrate type."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from oomscope.model.batch import Batch
from oomscope.model.free_area import FreeArea
from oomscope.model.reading import Notes
from oomscope.sources.base import lines, printable

# The kernel stops counting at 100,000 blocks, to hold the zone's lock no longer, and prints `>100000`.
_ROW = re.compile(
    rb"Node +(?P<node>\d{1,5}), zone +(?P<zone>\S{1,20}), type +(?P<type>\S{1,20}) (?P<counts>(?: *>?\d{1,12}){2,20}) *"
)
# Tables of blocks, not of free ones.
_ABOUT = re.compile(rb"|Page block order: .*|Pages per block: .*|Free pages count .*|Number of .*|Node \d+, zone .*")


class PagetypeinfoText:
    """The format: its first line."""

    format = "pagetypeinfo"
    separator: bytes | None = None

    def recognises(self, head: bytes) -> bool:
        """`Page block order: N` at the very beginning."""
        return re.match(rb"Page block order: \d{1,3}\r?\n", head) is not None

    def parser(self, *, ranking_only: bool) -> PagetypeinfoParser:  # noqa: ARG002 - it has nothing to leave out
        """A parser for one file."""
        return PagetypeinfoParser()


class PagetypeinfoParser:
    """Yields no rows; `notes.free_blocks` has a row for each zone and migrate type; see Parser."""

    def __init__(self) -> None:
        self.notes = Notes()

    def batches(self, chunks: Iterable[bytes]) -> Iterator[Batch]:
        """No rows."""
        found = []
        for line in lines(chunks):
            row = _ROW.fullmatch(line or b"")
            if row is None:
                self.notes.unknown_lines += line is None or _ABOUT.fullmatch(line) is None
                continue
            counts = tuple(int(count.removeprefix(b">")) for count in row["counts"].split())
            found.append(FreeArea(int(row["node"]), printable(row["zone"]), printable(row["type"]), counts))
        self.notes.free_blocks = tuple(found)
        yield from ()
