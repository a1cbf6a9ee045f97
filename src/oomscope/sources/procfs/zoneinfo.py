"""/proc/zoneinfo (mm/vmstat.c zoneinfo_show()): the counters of each zone and node, added up for the machine."""

from __future__ import annotations

import re

from oomscope import bounds
from oomscope.model.reading import Notes
from oomscope.sources.base import AccountSource
from oomscope.text import Lines, first_line

_ZONE = re.compile(rb"Node \d{1,5}, zone +\S{1,20} *")
_COUNTER = re.compile(rb" {6}(?P<name>[a-z][a-z0-9_]{1,60}) ++(?P<value>-?\d{1,18})")
_SIZE = re.compile(rb" {8}(?P<name>spanned|present|managed|cma) ++(?P<value>\d{1,18})")
_PER_CPU = re.compile(rb" {14}count: ++(?P<pages>-?\d{1,18})")
_ABOUT = re.compile(rb" {2}(?:per-node stats|pages free ++\d|pagesets|\w++: |vm stats)| {4,}+\S")
MANAGED, PER_CPU_LISTS = "managed", "free_pcp"


def _recognises(head: bytes) -> bool:
    """`Node N, zone NAME` at the very beginning, and nothing behind it."""
    return _ZONE.fullmatch(first_line(head)) is not None


def _read(rows: Lines) -> Notes:
    """`notes.accounts.counters` has the sums of all zones by the counters' names.

    SideAccounts them `managed`, the pages of RAM, and `free_pcp`, the free ones on lists of the processors.
    """
    notes = Notes()
    counters: dict[str, int] = {}
    for line in rows:
        line = b"\0" if line is None else line
        if _ZONE.fullmatch(line):
            notes.stats.records += 1
        elif told := _COUNTER.fullmatch(line) or _SIZE.fullmatch(line):
            name = told["name"].decode()
            if name in counters or len(counters) < bounds.EVENT_NAMES:
                counters[name] = counters.get(name, 0) + int(told["value"])
            else:
                notes.stats.leave_out("counters")
        elif on_lists := _PER_CPU.fullmatch(line):
            counters[PER_CPU_LISTS] = counters.get(PER_CPU_LISTS, 0) + int(on_lists["pages"])
        elif line and _ABOUT.match(line) is None:
            notes.stats.unknown_lines += 1
    notes.accounts.counters = counters
    return notes


ZONEINFO = AccountSource("zoneinfo", _recognises, _read)
