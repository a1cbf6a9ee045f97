"""/proc/meminfo: how much RAM there is (fs/proc/meminfo.c)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from oomscope.model.batch import Batch
from oomscope.model.reading import Meminfo, Notes
from oomscope.sources.base import lines

_LINE = re.compile(rb"(?P<name>[A-Za-z0-9_()]+):\s+(?P<kib>\d{1,15}) kB\s*")


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
        for line in lines(chunks):
            match = _LINE.fullmatch(line or b"")
            if match is not None:
                kib.setdefault(match["name"], int(match["kib"]))
            elif line is None or (line.strip() and not line.startswith(b"HugePages_")):
                self.notes.unknown_lines += 1
        if kib.get(b"MemTotal"):
            self.notes.meminfo = Meminfo(
                total_bytes=kib[b"MemTotal"] * 1024,
                free_bytes=_bytes(kib.get(b"MemFree")),
                hugepage_bytes=_bytes(kib.get(b"Hugepagesize")),
                direct_map_4k=b"DirectMap4k" in kib and b"DirectMap2M" in kib,
            )
        yield from ()


def _bytes(kib: int | None) -> int | None:
    return None if kib is None else kib * 1024
