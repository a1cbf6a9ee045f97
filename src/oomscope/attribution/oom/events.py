"""The OOM events of all logs of a machine, in order, and which of them is explained."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace

from oomscope.attribution.oom.analysis import analyse
from oomscope.attribution.page_size import page_kib_of
from oomscope.model.evidence import LoggedEvent
from oomscope.model.oom_event import FOREIGN, KILL, MEMCG_KILL, PANIC, SHOWN, VMALLOC_FAILURE, OomEvent
from oomscope.model.reading import Reading

_NUMBERS, _NAMES = 2, 1  # what an event tells: amounts, or only who was killed
_GRAVITY = {PANIC: 2, KILL: 1, MEMCG_KILL: 1}


def logged_events(readings: Iterable[Reading], page_size_bytes: int | None) -> tuple[LoggedEvent, ...]:
    """Every OOM event of every log, by boot and time or place; one that is told twice counts once."""
    found = [(reading.origin, event) for reading in readings for event in reading.notes.log.events]
    kept = _without_copies(found)
    sizes = [page_kib_of(event) for _, event in kept]
    # One machine has one page size: an event that proves it proves it for those around it.
    proven = {size for size in sizes if size is not None}
    usual = proven.pop() if len(proven) == 1 else None if page_size_bytes is None else page_size_bytes // 1024
    logged = [
        LoggedEvent(origin, analyse(replace(event, page_kib=usual if size is None else size)))
        for (origin, event), size in zip(kept, sizes, strict=True)
    ]
    told = [each.analysis.event for each in logged]
    if len({origin for origin, _ in kept}) == 1 or not any(event.boot for event in told):
        # Stamps count within a boot only; mails and pastes may have its reports in another order.
        for boot in {event.boot for event in told}:
            _by_time(logged, [at for at, event in enumerate(told) if event.boot == boot])
    return tuple(logged)


def _by_time(logged: list[LoggedEvent], places: list[int]) -> None:
    """Put the events at these places in their order in time, where each tells it."""
    own = [logged[at] for at in places]
    if all(each.analysis.event.at_ns is not None for each in own):
        own.sort(key=lambda each: each.analysis.event.at_ns or 0)
        for at, each in zip(places, own, strict=True):
            logged[at] = each


def _without_copies(found: list[tuple[str, OomEvent]]) -> list[tuple[str, OomEvent]]:
    """Each event once: of two that are one, the one that tells more.

    A line that stands by itself, as a quotation or a list of kills has it, makes no event beside one that has numbers.
    """
    place_of: dict[Hashable, int] = {}
    kept: list[tuple[str, OomEvent]] = []
    for origin, event in found:
        names = _names_of(event)
        places = {place_of[name] for name in names if name in place_of}
        if not places:
            place = len(kept)
            kept.append((origin, event))
        else:
            place = min(places)
            if _weight(event) > _weight(kept[place][1]):
                kept[place] = (origin, event)
        for name in names:
            place_of.setdefault(name, place)
    has_numbers = any(tells(event) == _NUMBERS for _, event in kept)
    whole = [each for each in kept if not (has_numbers and _is_stub(each[1]))]
    told_of = {(v.pid, v.comm) for _, event in whole if not _is_bare(event) for v in event.victims}
    return [each for each in whole if not (_is_bare(each[1]) and _is_told_of(each[1], told_of))]


def _names_of(event: OomEvent) -> list[Hashable]:
    """What no two events of a machine have in common: the moment with the asker, or the numbers."""
    names: list[Hashable] = []
    who = (event.kind, event.asked.comm, event.boot)
    victims = tuple((victim.pid, victim.comm, *sorted(victim.kib.items())) for victim in event.victims)
    if event.at_ns is not None:
        names.append((event.at_ns, *who, victims))
    if "free" in event.counters or any(len(victim) > 2 for victim in victims):
        names.append((event.kind, event.asked.comm, event.asked.order, tuple(sorted(event.counters.items())), victims))
    return names


def _weight(event: OomEvent) -> tuple[int, int]:
    return tells(event), event.last_line - event.first_line


def _is_stub(event: OomEvent) -> bool:
    """A header without anything behind it: cut off, or said again in prose."""
    asked = event.asked
    is_bare = not asked.stack and asked.pid is None and event.panic_message is None and event.constraint is None
    return is_bare and tells(event) == 0 and event.slab_request is None and event.cma_request is None


def _is_bare(event: OomEvent) -> bool:
    """Whether an event tells its victims and nothing else."""
    is_alone = not event.processes and event.asked.comm is None and event.panic_message is None
    return is_alone and tells(event) < _NUMBERS


def _is_told_of(event: OomEvent, told_of: set[tuple[int, str]]) -> bool:
    return bool(event.victims) and all((v.pid, v.comm) in told_of for v in event.victims)


def tells(event: OomEvent) -> int:
    """2 where an event has numbers of memory, 1 where it has processes or victims, else 0."""
    memcg = event.memcg
    has_numbers = bool(
        event.counters
        or event.zones
        or event.slab_caches
        or "pagecache pages" in event.totals
        or (event.kind == VMALLOC_FAILURE and event.asked.size_bytes is not None)
        or (event.cma_request is not None and event.cma_request.total_pages)
        or (memcg is not None and (memcg.usage_kib is not None or memcg.stat))
    )
    return _NUMBERS if has_numbers else _NAMES if event.victims or event.processes else 0


def explained(events: Sequence[LoggedEvent]) -> int:
    """The place of the event that is explained: of the last boot that tells anything, the gravest with numbers.

    A panic is graver than a kill, a kill than a request that failed; of several alike it is the last. `events` are not
    empty.
    """
    told = [logged.analysis.event for logged in events]
    return max(range(len(told)), key=lambda index: _rank(told[index], index))


def _rank(event: OomEvent, index: int) -> tuple[bool, bool, int, int, int, bool, int]:
    told = tells(event)
    is_real = event.kind not in (SHOWN, FOREIGN)
    # A listing that nothing failed for, and whose beginning or end is cut off, tells less than one before it.
    is_whole = event.kind != SHOWN or "free" in event.counters
    gravity = _GRAVITY.get(event.kind, 0) if told else 0
    return is_real, told > 0, event.boot if told else 0, told, gravity, is_whole, index
