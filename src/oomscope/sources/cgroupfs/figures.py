"""The files of a memory cgroup that hold one figure, its events, or its pressure: known by their names alone."""

from __future__ import annotations

import re
from collections.abc import Callable

from oomscope.model.oom_event import Memcg
from oomscope.model.reading import Notes
from oomscope.sources.base import AccountSource
from oomscope.text import Lines

USED = ("memory.current", "memory.usage_in_bytes")
LIMITS = ("memory.max", "memory.limit_in_bytes")
_OTHERS = ("memory.peak", "memory.max_usage_in_bytes", "memory.failcnt", "memory.high")
_EVENTS = ("memory.events", "memory.oom_control")
_PRESSURE = "memory.pressure"
# All that is read of one, memory.stat (memory.py) among them.
FILES = (*USED, *LIMITS, *_OTHERS, *_EVENTS, _PRESSURE, "memory.stat")
UNLIMITED = 1 << 60
_FIGURE = re.compile(rb"\s*(?P<value>\d{1,20}|max)\s*$")
_EVENT = re.compile(rb"(?P<name>[a-z_]{2,40}) (?P<value>\d{1,20})\s*$")
# kernel/sched/psi.c psi_show()
_WAITED = re.compile(rb"(?P<who>some|full) avg10=(?P<avg10>\d{1,3}\.\d\d) avg60=(?P<avg60>\d{1,3}\.\d\d) avg300=\d")


def source_of(name: str) -> AccountSource | None:
    """What reads a file of this name; None for any other."""
    if name in (*USED, *LIMITS, *_OTHERS):
        return AccountSource(name, _by_name, _figure(name))
    if name in _EVENTS:
        return AccountSource(name, _by_name, _events)
    return AccountSource(name, _by_name, _pressure) if name == _PRESSURE else None


def _by_name(head: bytes) -> bool:
    """Never by its beginning: a number may be anything's."""
    del head
    return False


def _memcg(
    usage_kib: int | None = None,
    limit_kib: int | None = None,
    failcnt: int | None = None,
    *,
    counts: dict[str, int] | None = None,
    pressure_percent: dict[str, float] | None = None,
) -> Memcg:
    return Memcg(
        None, "memory", usage_kib, limit_kib, failcnt, {}, counts=counts or {}, pressure_percent=pressure_percent or {}
    )


def _figure(name: str) -> Callable[[Lines], Notes]:
    def read(rows: Lines) -> Notes:
        """`notes.accounts.memcg` has the one figure."""
        notes = Notes()
        for line in rows:
            match = _FIGURE.match(line or b"")
            if match is None or notes.accounts.memcg is not None:
                notes.stats.unknown_lines += line is None or bool(line.strip())
                continue
            value = None if match["value"] == b"max" else int(match["value"])
            kib = None if value is None or value >= UNLIMITED else value // 1024
            if name in USED:
                notes.accounts.memcg = _memcg(usage_kib=kib)
            elif name in LIMITS:
                notes.accounts.memcg = _memcg(limit_kib=kib)
            else:
                notes.accounts.memcg = _memcg(failcnt=value if name == "memory.failcnt" else None)
        return notes

    return read


def _events(rows: Lines) -> Notes:
    """`notes.accounts.memcg` has how often it ran into its limits, by the names of the file."""
    notes = Notes()
    counts: dict[str, int] = {}
    for line in rows:
        match = _EVENT.match(line or b"")
        if match is not None and len(counts) < len(FILES):
            counts.setdefault(match["name"].decode(), int(match["value"]))
        else:
            notes.stats.unknown_lines += line is None or bool(line.strip())
    notes.accounts.memcg = _memcg(counts=counts)
    return notes


def _pressure(rows: Lines) -> Notes:
    """`notes.accounts.memcg` has how much of the last minute tasks waited for memory, in per cent."""
    notes = Notes()
    pressure: dict[str, float] = {}
    for line in rows:
        match = _WAITED.match(line or b"")
        if match is None:
            notes.stats.unknown_lines += line is None or bool(line.strip())
        else:
            pressure[match["who"].decode()] = float(match["avg60"])
    notes.accounts.memcg = _memcg(pressure_percent=pressure)
    return notes
