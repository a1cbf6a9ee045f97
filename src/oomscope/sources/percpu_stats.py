"""/sys/kernel/debug/percpu_stats (mm/percpu-stats.c percpu_stats_show()): memory of which each CPU has its own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from oomscope.model.batch import Batch
from oomscope.model.ledger import BYTES, PER_CPU, Entry, ledger
from oomscope.model.reading import Notes
from oomscope.sources.base import lines

_TITLE = b"Percpu Memory Statistics"
_NUMBER = re.compile(rb" {2}(?P<name>\S.{0,30}?) *: +(?P<value>-?\d{1,19})")
_CHUNK = re.compile(rb"Chunk(?:: <- (?:First|Reserved) Chunk| \(to_depopulate\)| \(sidelined\):|:)")
_RULE = re.compile(rb"-*|Allocation Info:|Global Stats:|Per Chunk Stats:")


class PercpuStatsText:
    """The format: its title."""

    format = "percpu_stats"
    separator: bytes | None = None

    def recognises(self, head: bytes) -> bool:
        """`Percpu Memory Statistics` at the very beginning."""
        return head.startswith(_TITLE)

    def parser(self, *, ranking_only: bool) -> PercpuStatsParser:  # noqa: ARG002 - it has nothing to leave out
        """A parser for one file."""
        return PercpuStatsParser()


class PercpuStatsParser:
    """Yields no rows; `notes.ledgers` has the bytes in use of one CPU, by kind of chunk; see Parser.

    The file tells neither how many CPUs have such a unit nor which of its pages are populated: `Percpu` of
    /proc/meminfo is the sum.
    """

    def __init__(self) -> None:
        self.notes = Notes()

    def batches(self, chunks: Iterable[bytes]) -> Iterator[Batch]:
        """No rows."""
        unit_size = 0
        used: dict[str, list[int]] = {}
        kind: str | None = None
        for line in lines(chunks):
            line = b"\0" if line is None else line
            if _CHUNK.fullmatch(line):
                kind = "first and reserved chunk" if b"<-" in line else "chunks"
                self.notes.records += 1
            elif number := _NUMBER.fullmatch(line):
                name, value = number["name"], int(number["value"])
                if name == b"unit_size":
                    unit_size = value
                elif name == b"free_bytes" and kind is not None:
                    used.setdefault(kind, []).append(max(unit_size - value, 0))
            elif line != _TITLE and _RULE.fullmatch(line) is None:
                self.notes.unknown_lines += 1
        entries = [Entry(name, sum(each), len(each)) for name, each in used.items()]
        self.notes.ledgers = ledger(PER_CPU, BYTES, "chunks", entries)
        yield from ()
