"""/sys/kernel/debug/percpu_stats (mm/percpu-stats.c percpu_stats_show()): memory of which each CPU has its own."""

from __future__ import annotations

import re

from oomscope.model.account import BYTES, PER_CPU
from oomscope.model.reading import Notes
from oomscope.sources.base import AccountSource
from oomscope.sources.entries import Entries
from oomscope.text import Lines

_TITLE = b"Percpu Memory Statistics"
_NUMBER = re.compile(rb" {2}(?P<name>\S.{0,30}?) *: ++(?P<value>-?\d{1,19})")
_CHUNK = re.compile(rb"Chunk(?:: <- (?:First|Reserved) Chunk| \(to_depopulate\)| \(sidelined\):|:)")
_RULE = re.compile(rb"-*|Allocation Info:|Global Stats:|Per Chunk Stats:")


def _recognises(head: bytes) -> bool:
    """`Percpu Memory Statistics` at the very beginning."""
    return head.startswith(_TITLE)


def _read(rows: Lines) -> Notes:
    """`notes.accounts.tables` has the bytes in use of one CPU, by kind of chunk.

    The file tells neither how many CPUs have such a unit nor which of its pages are populated: `Percpu` of
    /proc/meminfo is the sum.
    """
    notes = Notes()
    unit_size: int | None = None
    used = Entries(notes)
    kind: str | None = None
    for line in rows:
        line = b"\0" if line is None else line
        if _CHUNK.fullmatch(line):
            kind = "first and reserved chunk" if b"<-" in line else "chunks"
            notes.stats.records += 1
        elif number := _NUMBER.fullmatch(line):
            name, value = number["name"], int(number["value"])
            if name == b"unit_size":
                unit_size = value
            elif name == b"free_bytes" and kind is not None:
                if unit_size is None or not 0 <= value <= unit_size:
                    notes.stats.corrupt_records += 1  # what of the chunk is in use cannot be told
                else:
                    used.merge(kind, unit_size - value)
        elif line != _TITLE and _RULE.fullmatch(line) is None:
            notes.stats.unknown_lines += 1
    notes.accounts.tables = used.account(PER_CPU, BYTES, "chunks")
    return notes


PERCPU_STATS = AccountSource("percpu_stats", _recognises, _read)
