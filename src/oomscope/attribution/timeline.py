"""Readings of one machine put in order: which moments there are, and which readings count the same pages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from oomscope.attribution import kernel_facts
from oomscope.attribution.oom.events import logged_events
from oomscope.attribution.tally import Tally, no_counts
from oomscope.attribution.witness_matching import total_pages, with_counts, with_reports
from oomscope.model.counts import Counts
from oomscope.model.evidence import Evidence, LoggedEvent, Moment
from oomscope.model.reading import LogFacts, Notes, Reading, Role
from oomscope.model.stack import Stack
from oomscope.model.unknown import Unknown


def build(
    readings: tuple[Reading, ...],
    unused: tuple[Unknown, ...] = (),
    *,
    page_size_bytes: int | None = None,
    records_only: bool = False,
) -> Evidence:
    """Evidence of one machine from its readings; at least one of them holds counts, or tells of an OOM event.

    Moments are ordered by what they say: the newest allocation time of a dump, the time stamp of a log; a report of a
    dying kernel without a stamp is the latest. A page_owner_stacks reading tells no time: it is the witness of the
    dump it agrees with. What cannot be placed is left out, and said. With `records_only`, what tells no records takes
    no part where a dump does.
    """
    placed = _placed(_counted(readings), records_only=records_only)
    moments = placed.moments or (_moment_without_counts(readings),)
    out_of_it = {each.what for each in placed.absent}
    used = [r for r in readings if r.origin not in out_of_it]
    events = logged_events(used, page_size_bytes)
    machine = kernel_facts.machine(readings, used, moments, events, page_size_bytes)
    return Evidence(
        kernel=machine.kernel,
        ram_pages=machine.ram_pages,
        free_pages=machine.free_pages,
        moments=moments,
        readings=readings,
        meminfo=machine.meminfo,
        events=events,
        absent=(*placed.absent, *_told_missing(moments[-1], readings)),
        unused=unused,
    )


def without_stacks(evidence: Evidence, logged: LoggedEvent) -> Evidence:
    """The same evidence at the moment of one OOM event of a log: what was counted at other times is no part of it."""
    reading = next(r for r in evidence.readings if r.origin == logged.origin)
    notes = Notes(release=reading.notes.release, log=LogFacts(events=reading.notes.log.events))
    moment = _moment_without_counts((replace(reading, counts=None, census=None, notes=notes),))
    at_ns = logged.analysis.event.at_ns
    moment = replace(moment, at_ns=moment.at_ns if at_ns is None else at_ns)
    ram_pages = logged.analysis.accounting.ram_pages or evidence.ram_pages
    return replace(evidence, moments=(moment,), meminfo=None, ram_pages=ram_pages)


@dataclass(slots=True)
class _Counted:
    """Moments of readings that count pages, by what they are good for, in the order of the readings."""

    dumps: list[Moment] = field(default_factory=list)
    tracked: list[Moment] = field(default_factory=list)
    stacks: list[Moment] = field(default_factory=list)
    reports: list[Moment] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Placed:
    """The moments in their order, and what found no place among them."""

    moments: tuple[Moment, ...]
    absent: list[Unknown]


def _counted(readings: tuple[Reading, ...]) -> _Counted:
    """A moment for each reading that counts pages and is no other's witness by nature."""
    handles: dict[int, Stack] = {}
    witnesses_of: dict[str, list[Reading]] = {}
    for reading in readings:
        handles.update(reading.handles)
        if reading.witness_of is not None:
            witnesses_of.setdefault(reading.witness_of, []).append(reading)
    found = _Counted()
    for reading in readings:
        if reading.counts is None or not reading.has_counts or reading.witness_of is not None:
            continue
        counts = _resolved(reading.counts, handles)
        if reading.role in (Role.DUMP, Role.MEMORY):
            found.dumps.append(_moment_of_dump(reading, counts, witnesses_of))
        elif reading.role is Role.TRACKED:
            found.tracked.append(_moment_of_dump(reading, counts, witnesses_of))
        elif reading.role is Role.STACK_COUNTS:
            found.stacks.append(Moment(reading, counts, _read_at(reading)))
        elif reading.notes.log.reports:
            found.reports.append(Moment(reading, counts, _stamped(reading)))
    return found


def _placed(counted: _Counted, *, records_only: bool) -> _Placed:
    dumps, stacks, reports = counted.dumps, counted.stacks, counted.reports
    absent: list[Unknown] = []
    if any(dump.counts.stacks for dump in dumps):
        reason = "page_owner counts the same pages: it takes no part"
        absent += [Unknown(m.reading.origin, reason) for m in counted.tracked]
    else:
        dumps = dumps + counted.tracked
    if records_only and dumps:
        reason = "it does not tell what is asked: it takes no part"
        absent += [Unknown(m.reading.origin, reason) for m in reports + stacks]
        reports, stacks = [], []
    if not dumps:  # then what a crash kernel found is as good as one
        dumps = [found for found in stacks if found.reading.notes.system is not None]
        stacks = [found for found in stacks if found.reading.notes.system is None]
    dumps = _of_one_machine(_distinct(dumps, absent), absent)
    if dumps:
        dumps, stacks = _with_findings(dumps, stacks, absent)
        dumps, stacks = with_counts(dumps, stacks)
        dumps, reports = with_reports(dumps, reports)
    if stacks and (dumps or reports or len(stacks) > 1):
        kept, left = ([], stacks) if dumps or reports else _largest(stacks)
        dumps = dumps + kept
        reason = "it tells none and agrees with no dump: neither added nor compared"
        absent += [Unknown(f"the time of {m.reading.origin}", reason) for m in left]
        stacks = []
    return _Placed(tuple(sorted(dumps + stacks + reports, key=_order)), absent)


def _with_findings(
    dumps: list[Moment], stacks: list[Moment], absent: list[Unknown]
) -> tuple[list[Moment], list[Moment]]:
    """What a crash kernel found is the witness of the dump of the same crash, whatever it says; the other counts."""
    latest, left = dumps[-1], []
    dumped = latest.reading.notes.system
    for found in stacks:
        system = found.reading.notes.system
        if system is None or dumped is None:
            left.append(found)
        elif system.boot == dumped.boot:
            latest = replace(latest, witnesses=(*latest.witnesses, found.reading))
        else:
            reason = f"of another boot than {latest.reading.origin}: left out"
            absent.append(Unknown(found.reading.origin, reason))
    return [*dumps[:-1], latest], left


def _told_missing(latest: Moment, readings: Iterable[Reading]) -> list[Unknown]:
    """What the readings themselves say they do not hold."""
    absent = list(latest.reading.notes.absent)
    others = [r for r in readings if r is not latest.reading and r.role in (Role.ACCOUNT, Role.MANIFEST)]
    absent += [each for r in others for each in r.notes.absent]
    absent += [
        Unknown(f"{count:,} {what} of {r.origin}", "more than are kept: `oomscope help reliability` has the bounds")
        for r in readings
        for what, count in r.notes.stats.left_out.items()
    ]
    return absent


def _moment_without_counts(readings: tuple[Reading, ...]) -> Moment:
    """A log that tells of OOM events and of no stacks; else one of the kernel's own accounts, or whatever is there."""
    fallback = next((r for r in readings if r.notes.accounts.tables or r.notes.accounts.cache_objects), readings[0])
    reading = next((r for r in readings if r.notes.log.events), fallback)
    at_ns = reading.notes.log.events[-1].at_ns if reading.notes.log.events else None
    unknown = Unknown("when it happened", f"{reading.origin} carries no time since boot")
    return Moment(reading, no_counts(), unknown if at_ns is None else at_ns)


def _moment_of_dump(reading: Reading, counts: Counts, witnesses_of: Mapping[str, list[Reading]]) -> Moment:
    """A dump's moment: its newest allocation, or the last line of its log if that is later; its own witnesses."""
    at_ns = _newest(counts)
    if reading.notes.at_ns is not None:
        at_ns = max(reading.notes.at_ns, 0 if isinstance(at_ns, Unknown) else at_ns)
    return Moment(reading, counts, at_ns, tuple(witnesses_of.get(reading.origin, ())))


def _distinct(dumps: list[Moment], absent: list[Unknown]) -> list[Moment]:
    """Dumps that are different readings: two that end at the same nanosecond are copies of one."""
    kept: dict[int, Moment] = {}
    untimed: list[Moment] = []
    for dump in dumps:
        if isinstance(dump.at_ns, Unknown):
            untimed.append(dump)
        elif dump.at_ns in kept:
            absent.append(Unknown(dump.reading.origin, f"the same dump as {kept[dump.at_ns].reading.origin}"))
        else:
            kept[dump.at_ns] = dump
    if len(untimed) + len(kept) > 1 and untimed:
        # Nothing tells their order: the largest is explained, unless one with times is there.
        placed, left = ([], untimed) if kept else _largest(untimed)
        absent += [Unknown(f"the time of {m.reading.origin}", "its records carry none: left out") for m in left]
        untimed = placed
    return [*kept.values(), *untimed]


def _of_one_machine(dumps: list[Moment], absent: list[Unknown]) -> list[Moment]:
    """The latest dump, and the earlier ones that are of the same kernel: they share stacks, address by address."""
    if not dumps:
        return []
    *earlier, latest = sorted(dumps, key=_order)
    known = set(latest.counts.stacks)
    kept = [m for m in earlier if not m.counts.stacks or not known or known.intersection(m.counts.stacks)]
    other_boots = [m for m in kept if _is_of_another_boot(m, latest)]
    absent += [
        Unknown(m.reading.origin, f"of another boot than {latest.reading.origin}: left out") for m in other_boots
    ]
    shared = {id(m) for m in kept}
    other = {id(m) for m in other_boots}
    reason = f"it shares no stack with {latest.reading.origin}: another kernel or machine, left out"
    absent += [Unknown(m.reading.origin, reason) for m in earlier if id(m) not in shared]
    return [*(m for m in kept if id(m) not in other), latest]


def _is_of_another_boot(earlier: Moment, latest: Moment) -> bool:
    """Nothing comes after a panic; and two dumps of one boot have the kernel in one place."""
    if earlier.reading.notes.log.panicked:
        return True
    one, other = earlier.reading.notes.system, latest.reading.notes.system
    return one is not None and other is not None and one.boot != other.boot


def _newest(counts: Counts) -> int | Unknown:
    if counts.newest_ns is None:
        return Unknown(
            "when the dump was taken", "its records carry no time (before 5.11, or only the ranking was read)"
        )
    return counts.newest_ns


def _stamped(reading: Reading) -> int | Unknown:
    at_ns = reading.notes.at_ns
    return Unknown("when the report was printed", "its lines carry no printk time stamp") if at_ns is None else at_ns


def _read_at(reading: Reading) -> int | Unknown:
    """Of counts per stack only the crash kernel's have a time, the dead kernel's last line."""
    if reading.notes.at_ns is not None:
        return reading.notes.at_ns
    return Unknown(f"when {reading.origin} was read", f"{reading.format} carries no time")


def _order(moment: Moment) -> tuple[int, bool]:
    """By time; without one, a dump comes first and a dying kernel's report last."""
    unknown_ns = 1 << 63 if moment.is_panic_report else -1
    return (unknown_ns if isinstance(moment.at_ns, Unknown) else moment.at_ns, moment.is_panic_report)


def _largest(stacks: list[Moment]) -> tuple[list[Moment], list[Moment]]:
    by_size = sorted(stacks, key=lambda moment: total_pages(moment.counts) or 0)
    return by_size[-1:], by_size[:-1]


def _resolved(counts: Counts, handles: Mapping[int, Stack]) -> Counts:
    """The same counts with stacks known by handle alone given the frames that another reading has for them."""
    if not handles or all(stack.frames for stack in counts.stacks):
        return counts
    tally = Tally()
    tally.absorb(counts, lambda stack: stack if stack.frames else handles.get(stack.handle or 0, stack))
    return tally.counts()
