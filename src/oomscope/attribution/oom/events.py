"""The OOM events of all logs of a machine, in order, and which of them is explained."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace

from oomscope.attribution.oom.analysis import analyse
from oomscope.attribution.page_size import page_kib_of
from oomscope.model.evidence import LoggedEvent
from oomscope.model.oom_event import FOREIGN, KILL, MEMCG_KILL, PANIC, SHOWN, OomEvent
from oomscope.model.reading import Reading

_ONE_MOMENT_NS = 10**9


def logged_events(readings: Iterable[Reading], page_size_bytes: int | None) -> tuple[LoggedEvent, ...]:
    """Every OOM event of every log, in time where all of them tell it; one told by two logs counts once."""
    found: list[LoggedEvent] = []
    told_by: dict[Hashable, str] = {}
    for reading in readings:
        for event in reading.notes.log.events:
            names = _names_of(event)
            if all(told_by.get(name, reading.origin) == reading.origin for name in names):
                page_kib = page_kib_of(event)
                if page_kib is None and page_size_bytes is not None:
                    page_kib = page_size_bytes // 1024
                found.append(LoggedEvent(reading.origin, analyse(replace(event, page_kib=page_kib))))
                for name in names:
                    told_by.setdefault(name, reading.origin)
    if all(e.analysis.event.at_ns is not None for e in found):
        found.sort(key=lambda e: e.analysis.event.at_ns or 0)
    return tuple(found)


def _names_of(event: OomEvent) -> list[Hashable]:
    """What no two events of a machine have in common: the moment, and the numbers where there are some."""
    names: list[Hashable] = []
    who = (event.kind, event.asked.comm)
    if event.at_ns is not None:
        names.append((event.at_ns, *who))
    victims = tuple((victim.pid, victim.comm, *sorted(victim.kib.items())) for victim in event.victims)
    if "free" in event.counters or any(len(victim) > 2 for victim in victims):
        names.append((*who, event.asked.order, tuple(sorted(event.counters.items())), victims))
    return names


def explained(events: Sequence[LoggedEvent]) -> int:
    """The place of the event that is explained: the last one; of those of one second, a kill or panic before a failure.

    `events` are not empty.
    """
    told = [logged.analysis.event for logged in events]
    last = max(range(len(told)), key=lambda index: _rank(told[index], index))
    at_ns = told[last].at_ns
    if told[last].kind not in (KILL, PANIC, MEMCG_KILL) and at_ns is not None:
        for index in range(last - 1, -1, -1):
            other = told[index]
            if other.at_ns is None or at_ns - other.at_ns > _ONE_MOMENT_NS:
                break
            if other.kind in (KILL, PANIC) and other.counters:
                return index
    return last


def _rank(event: OomEvent, index: int) -> tuple[bool, int, int]:
    """The last event counts; one whose numbers are there before one of which kill lines or a header alone are left."""
    has_numbers = bool(event.counters or event.zones or (event.memcg is not None and event.memcg.usage_kib is not None))
    tells = 2 if has_numbers else int(bool(event.victims or event.processes))
    return event.kind not in (SHOWN, FOREIGN), tells, index
