"""/proc/vmstat (mm/vmstat.c vmstat_show()): the kernel's counters, those of the whole machine."""

from __future__ import annotations

import re

from oomscope import bounds
from oomscope.model.reading import Notes
from oomscope.sources.base import AccountSource
from oomscope.text import Lines

_ROW = re.compile(rb"(?P<name>[a-z][a-z0-9_]{1,60}) (?P<value>-?\d{1,20})")


def _recognises(head: bytes) -> bool:
    """`nr_free_pages N` at the very beginning."""
    return re.match(rb"nr_free_pages \d{1,20}\r?\n", head) is not None


def _read(rows: Lines) -> Notes:
    """`notes.accounts.counters` has the counters by name."""
    notes = Notes()
    counters: dict[str, int] = {}
    for line in rows:
        row = _ROW.fullmatch(line or b"")
        if row is None:
            notes.stats.unknown_lines += line != b""
        else:
            if len(counters) < bounds.EVENT_NAMES:
                counters.setdefault(row["name"].decode(), int(row["value"]))
            else:
                notes.stats.leave_out("counters")
    notes.accounts.counters = counters
    return notes


VMSTAT = AccountSource("vmstat", _recognises, _read)
