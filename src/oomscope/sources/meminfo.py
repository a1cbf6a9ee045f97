"""/proc/meminfo: how much RAM there is (fs/proc/meminfo.c)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from oomscope.model.batch import Batch
from oomscope.model.reading import Meminfo, Notes
from oomscope.sources.base import lines

_LINE = re.compile(rb"(?P<name>[A-Za-z0-9_()]+):\s+(?P<kib>\d{1,15}) kB\s*")

_HUGE_PAGES = re.compile(rb"HugePages_Total:\s+(?P<count>\d{1,12})\s*")


class MeminfoText:
    """The format: recognised by its first two lines."""

    format = "meminfo"
    separator: bytes | None = None

    def recognises(self, head: bytes) -> bool:
        """`MemTotal:` and `MemFree:` in kB, at the beginning of the input."""
        return re.match(rb"\s*MemTotal:\s+\d+ kB\r?\nMemFree:\s+\d+ kB", head) is not None

    def parser(self, *, ranking_only: bool) -> MeminfoParser:  # noqa: ARG002 - it has no rows to leave out
        """A parser for one file."""
        return MeminfoParser()


class MeminfoParser:
    """Yields no rows; `notes.meminfo` has the figures; see Parser."""

    def __init__(self) -> None:
        self.notes = Notes()

    def batches(self, chunks: Iterable[bytes]) -> Iterator[Batch]:
        """No rows."""
        kib: dict[bytes, int] = {}
        huge_pages = 0
        for line in lines(chunks):
            match = _LINE.fullmatch(line or b"")
            if match is not None:
                kib.setdefault(match["name"], int(match["kib"]))
            elif pool := _HUGE_PAGES.fullmatch(line or b""):
                huge_pages = int(pool["count"])
            elif line is None or (line.strip() and not line.startswith(b"HugePages_")):
                self.notes.unknown_lines += 1
        # All pools together from 4.19 on, else the one of the default size.
        kib.setdefault(b"Hugetlb", huge_pages * kib.get(b"Hugepagesize", 0))
        if kib.get(b"MemTotal"):
            self.notes.meminfo = Meminfo(
                total_bytes=kib[b"MemTotal"] * 1024,
                free_bytes=_bytes(kib.get(b"MemFree")),
                hugepage_bytes=_bytes(kib.get(b"Hugepagesize")),
                direct_map_4k=b"DirectMap4k" in kib and b"DirectMap2M" in kib,
                kib={name.decode(): size for name, size in kib.items()},
            )
        yield from ()


def _bytes(kib: int | None) -> int | None:
    return None if kib is None else kib * 1024
