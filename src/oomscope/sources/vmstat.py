"""/proc/vmstat (mm/vmstat.c vmstat_show()): the kernel's counters, those of the whole machine."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from oomscope.model.batch import Batch
from oomscope.model.reading import Notes
from oomscope.sources.base import lines

_ROW = re.compile(rb"(?P<name>[a-z][a-z0-9_]{1,60}) (?P<value>-?\d{1,20})")


class VmstatText:
    """The format: its first counter."""

    format = "vmstat"
    separator: bytes | None = None

    def recognises(self, head: bytes) -> bool:
        """`nr_free_pages N` at the very beginning."""
        return re.match(rb"nr_free_pages \d{1,20}\r?\n", head) is not None

    def parser(self, *, ranking_only: bool) -> VmstatParser:  # noqa: ARG002 - it has nothing to leave out
        """A parser for one file."""
        return VmstatParser()


class VmstatParser:
    """Yields no rows; `notes.counters` has the counters by name; see Parser."""

    def __init__(self) -> None:
        self.notes = Notes()

    def batches(self, chunks: Iterable[bytes]) -> Iterator[Batch]:
        """No rows."""
        counters: dict[str, int] = {}
        for line in lines(chunks):
            row = _ROW.fullmatch(line or b"")
            if row is None:
                self.notes.unknown_lines += line != b""
            else:
                counters.setdefault(row["name"].decode(), int(row["value"]))
        self.notes.counters = counters
        yield from ()
