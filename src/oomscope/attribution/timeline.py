"""Readings of one machine put in order: which moments there are, which readings are witnesses of which."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace

import numpy as np

from oomscope.attribution import kernel_facts
from oomscope.attribution.culprit import attribute
from oomscope.attribution.gfp import may_reclaim
from oomscope.attribution.oom.analysis import analyse
from oomscope.attribution.page_size import page_kib_of
from oomscope.attribution.tally import Tally
from oomscope.model.counts import Counts
from oomscope.model.evidence import Evidence, LoggedEvent, Moment
from oomscope.model.kernel import Kernel
from oomscope.model.oom_event import OomEvent
from oomscope.model.reading import Meminfo, Notes, Reading
from oomscope.model.stack import Stack
from oomscope.model.unknown import Unknown

# Two readings of one moment agree but for what was allocated and freed between them.
_AGREES_WITHIN = 0.1
_AGREES_WITHIN_LEAST = 64
_DUMPS_PER_WITNESS = 16
# Readings of whole machines that tell no moment: beside a dump they are its witnesses.
_TRACKED = "tracked pages"
_WITHOUT_TIME = ("page_owner_stacks", "page_owner_sort")


def arrange(
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
    handles: dict[int, Stack] = {}
    for reading in readings:
        handles.update(reading.handles)
    counted = [
        (r, _resolved(r.counts, handles))
        for r in readings
        if r.counts is not None and (r.notes.records or r.census is not None) and r.witness_of is None
    ]
    witnesses_of: dict[str, list[Reading]] = {}
    for reading in readings:
        if reading.witness_of is not None:
            witnesses_of.setdefault(reading.witness_of, []).append(reading)
    dumps = [_moment_of_dump(r, c, witnesses_of) for r, c in counted if r.format in ("page_owner", "kernel memory")]
    tracked = [_moment_of_dump(r, c, witnesses_of) for r, c in counted if r.format == _TRACKED]
    reports = [Moment(r, c, _stamped(r)) for r, c in counted if r.notes.reports]
    stacks = [Moment(r, c, _untimed(r)) for r, c in counted if r.format in _WITHOUT_TIME]
    absent: list[Unknown] = []
    if any(dump.counts.stacks for dump in dumps):
        absent += [Unknown(m.reading.origin, "page_owner counts the same pages: it takes no part") for m in tracked]
    else:
        dumps += tracked
    if records_only and dumps:
        absent += [
            Unknown(m.reading.origin, "it does not tell what is asked: it takes no part") for m in reports + stacks
        ]
        reports, stacks = [], []
    dumps = _of_one_machine(_distinct(dumps, absent), absent)
    if dumps:
        dumps, stacks = _with_witnesses(dumps, stacks)
        dumps, reports = _with_reports(dumps, reports)
    if stacks and (dumps or reports or len(stacks) > 1):
        placed, left = ([], stacks) if dumps or reports else _largest(stacks)
        dumps += placed
        reason = "it tells none and agrees with no dump: neither added nor compared"
        absent += [Unknown(f"the time of {m.reading.origin}", reason) for m in left]
        stacks = []
    events = _events(readings, page_size_bytes)
    moments = tuple(sorted(dumps + stacks + reports, key=_order))
    if not moments:
        moments = (_moment_without_counts(readings),)
    no_part = {each.what for each in absent}
    used = [r for r in readings if r.origin not in no_part]
    kernel = kernel_facts.kernel(
        used,
        [m.counts for m in moments],
        _first_meminfo(readings),
        _counters(readings),
        [logged.analysis.event for logged in events],
    )
    system = next((m.reading.notes.system for m in reversed(moments) if m.reading.notes.system is not None), None)
    if system is not None:
        kernel = replace(kernel, arch=system.arch)
        kernel = _with_page_size(kernel, system.page_size_bytes, "VMCOREINFO tells it")
    if page_size_bytes is not None:
        kernel = _with_page_size(kernel, page_size_bytes, "it was given")
    meminfo = _meminfo_of(moments[-1], readings, kernel.page_size_bytes)
    absent += moments[-1].reading.notes.absent
    absent += [each for r in readings if r.format in ("manifest", "free_traces") for each in r.notes.absent]
    absent += [
        Unknown(f"{count:,} {what} of {r.origin}", "more than are kept: docs/reliability.md has the bounds")
        for r in readings
        for what, count in r.notes.left_out.items()
    ]
    ram_pages = kernel_facts.ram_pages(moments[-1], meminfo, kernel.page_size_bytes, _managed_pages(readings))
    if isinstance(ram_pages, Unknown):
        of_reports = (event.analysis.accounting.ram_pages for event in reversed(events))
        ram_pages = next((pages for pages in of_reports if pages), ram_pages)
    return Evidence(
        kernel=kernel,
        ram_pages=ram_pages,
        free_pages=kernel_facts.free_pages(meminfo, kernel.page_size_bytes),
        moments=moments,
        readings=readings,
        meminfo=meminfo,
        events=events,
        absent=tuple(absent),
        unused=unused,
    )


def _with_page_size(kernel: Kernel, size_bytes: int, proof: str) -> Kernel:
    return replace(kernel, page_size_bytes=size_bytes, page_size_assumed_bytes=None, page_size_proof=proof)


def _counters(readings: Iterable[Reading]) -> dict[str, int]:
    """The counters of all readings, those of the first one that has each."""
    merged: dict[str, int] = {}
    for reading in readings:
        merged = {**reading.notes.counters, **merged}
    return merged


def _events(readings: Iterable[Reading], page_size_bytes: int | None) -> tuple[LoggedEvent, ...]:
    """Every OOM event of every log, in time where all of them tell it; one told by two logs counts once."""
    found: list[LoggedEvent] = []
    told_by: dict[Hashable, str] = {}
    for reading in readings:
        for event in reading.notes.events:
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


def without_stacks(evidence: Evidence, logged: LoggedEvent) -> Evidence:
    """The same evidence at the moment of one OOM event of a log: what was counted at other times is no part of it."""
    reading = next(r for r in evidence.readings if r.origin == logged.origin)
    notes = Notes(release=reading.notes.release, events=reading.notes.events)
    moment = _moment_without_counts((replace(reading, counts=None, census=None, notes=notes),))
    at_ns = logged.analysis.event.at_ns
    moment = replace(moment, at_ns=moment.at_ns if at_ns is None else at_ns)
    ram_pages = logged.analysis.accounting.ram_pages or evidence.ram_pages
    return replace(evidence, moments=(moment,), meminfo=None, ram_pages=ram_pages)


def _moment_without_counts(readings: tuple[Reading, ...]) -> Moment:
    """A log that tells of OOM events and of no stacks; else one of the kernel's own accounts, or whatever is there."""
    fallback = next((r for r in readings if r.notes.accounts or r.notes.cache_objects), readings[0])
    reading = next((r for r in readings if r.notes.events), fallback)
    at_ns = reading.notes.events[-1].at_ns if reading.notes.events else None
    unknown = Unknown("when it happened", f"{reading.origin} carries no time since boot")
    return Moment(reading, Tally().counts(), unknown if at_ns is None else at_ns)


def _moment_of_dump(reading: Reading, counts: Counts, witnesses_of: Mapping[str, list[Reading]]) -> Moment:
    """A dump's moment: its newest allocation, or the last line of its log if that is later; its own witnesses."""
    at_ns = _newest(counts)
    if reading.notes.at_ns is not None:
        at_ns = max(reading.notes.at_ns, 0 if isinstance(at_ns, Unknown) else at_ns)
    return Moment(reading, counts, at_ns, tuple(witnesses_of.get(reading.origin, ())))


def _with_reports(dumps: list[Moment], reports: list[Moment]) -> tuple[list[Moment], list[Moment]]:
    """What a dying kernel printed is the witness of the dump of its memory, where that knows every stack printed."""
    found, left = list(dumps), []
    for report in reports:
        printed = set(report.counts.stacks)
        fits = [i for i, dump in enumerate(found) if dump.reading.notes.panicked and printed <= set(dump.counts.stacks)]
        if fits:
            dump = found[fits[-1]]
            found[fits[-1]] = replace(dump, witnesses=(*dump.witnesses, report.reading))
        else:
            left.append(report)
    return found, left


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
    if earlier.reading.notes.panicked:
        return True
    one, other = earlier.reading.notes.system, latest.reading.notes.system
    return one is not None and other is not None and one.boot != other.boot


def total_pages(counts: Counts) -> int | None:
    """All pages counted, None where the evidence counts allocations only."""
    return None if counts.pages is None else int(counts.pages.sum())


def _newest(counts: Counts) -> int | Unknown:
    if counts.newest_ns is None:
        return Unknown(
            "when the dump was taken", "its records carry no time (before 5.11, or only the ranking was read)"
        )
    return counts.newest_ns


def _stamped(reading: Reading) -> int | Unknown:
    at_ns = reading.notes.at_ns
    return Unknown("when the report was printed", "its lines carry no printk time stamp") if at_ns is None else at_ns


def _untimed(reading: Reading) -> Unknown:
    return Unknown(f"when {reading.origin} was read", f"{reading.format} carries no time")


def _order(moment: Moment) -> tuple[int, bool]:
    """By time; without one, a dump comes first and a dying kernel's report last."""
    unknown_ns = 1 << 63 if moment.is_panic_report else -1
    return (unknown_ns if isinstance(moment.at_ns, Unknown) else moment.at_ns, moment.is_panic_report)


def _largest(stacks: list[Moment]) -> tuple[list[Moment], list[Moment]]:
    by_size = sorted(stacks, key=lambda moment: total_pages(moment.counts) or 0)
    return by_size[-1:], by_size[:-1]


def _with_witnesses(dumps: list[Moment], stacks: list[Moment]) -> tuple[list[Moment], list[Moment]]:
    """Give each dump the page_owner_stacks reading it agrees with; the readings that are left over."""
    amounts = [_amount(dump.counts) for dump in dumps]
    distances = sorted(
        (_distance(dumps[d].counts, witness.counts), d, w)
        for w, witness in enumerate(stacks)
        for d in _nearest(amounts, _amount(witness.counts))
    )
    matched_witnesses: set[int] = set()
    witness_of: dict[int, int] = {}
    for distance, d, w in distances:
        agrees = distance <= _AGREES_WITHIN * _amount(stacks[w].counts) + _AGREES_WITHIN_LEAST
        if agrees and d not in witness_of and w not in matched_witnesses:
            witness_of[d] = w
            matched_witnesses.add(w)
    matched = [
        replace(m, witnesses=(*m.witnesses, stacks[witness_of[d]].reading)) if d in witness_of else m
        for d, m in enumerate(dumps)
    ]
    return matched, [m for w, m in enumerate(stacks) if w not in matched_witnesses]


def _nearest(amounts: list[int], amount: int) -> list[int]:
    """The dumps that are worth holding against a witness: all of a few, of many those that count about as much."""
    return sorted(range(len(amounts)), key=lambda d: abs(amounts[d] - amount))[:_DUMPS_PER_WITNESS]


def unlisted(counts: Counts, listed: Mapping[Stack, int]) -> frozenset[Stack]:
    """Stacks that are not in page_owner_stacks because none of their requests may reclaim.

    Newer kernels leave such stacks out: mm/page_owner.c add_stack_record_to_list() returns early where
    gfpflags_allow_spinning() says no. A slab cache asks so for slabs larger than its smallest. Where most of these
    stacks are listed, the kernel is no such kernel and the set is empty.
    """
    requests = counts.requests
    reclaims = np.array([not r.gfp_flags or may_reclaim(r.gfp_flags) for r in requests.values], dtype=bool)
    if not reclaims.size:
        return frozenset()
    told = set(requests.pair_stack.tolist()) - set(requests.pair_stack[reclaims[requests.pair_value]].tolist())
    silent = frozenset(counts.stacks[index] for index in told)
    missing = silent - listed.keys()
    return missing if 2 * len(missing) > len(silent) else frozenset()


def _distance(dump: Counts, witness: Counts) -> int:
    """How far two counts of the same pages are apart, in pages (or allocations, where one counts those).

    What page_owner_stacks never counts (early pages and the like) is no distance, nor what newer kernels do not list.
    """
    ours, theirs = _common_sums(dump, witness)
    if ours is None or theirs is None:
        return 1 << 62
    left_out = unlisted(dump, theirs)
    counted = (ours.keys() | theirs.keys()) - left_out
    stacks = [stack for stack in counted if attribute(stack).label is None]
    return sum(abs(ours.get(stack, 0) - theirs.get(stack, 0)) for stack in stacks)


def _common_sums(one: Counts, other: Counts) -> tuple[dict[Stack, int] | None, dict[Stack, int] | None]:
    if one.pages is not None and other.pages is not None:
        return by_stack(one.stacks, one.pages), by_stack(other.stacks, other.pages)
    if one.blocks is not None and other.blocks is not None:
        return by_stack(one.stacks, one.blocks), by_stack(other.stacks, other.blocks)
    return None, None


def _amount(counts: Counts) -> int:
    column = counts.blocks if counts.pages is None else counts.pages
    return 0 if column is None else int(column.sum())


def by_stack(stacks: Iterable[Stack], values: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> dict[Stack, int]:
    """One number per stack."""
    return dict(zip(stacks, values.tolist(), strict=True))


def _resolved(counts: Counts, handles: Mapping[int, Stack]) -> Counts:
    """The same counts with stacks known by handle alone given the frames that another reading has for them."""
    if not handles or all(stack.frames for stack in counts.stacks):
        return counts
    tally = Tally()
    tally.absorb(counts, lambda stack: stack if stack.frames else handles.get(stack.handle or 0, stack))
    return tally.counts()


def _managed_pages(readings: Iterable[Reading]) -> int | None:
    return next((r.notes.counters["managed"] for r in readings if "managed" in r.notes.counters), None)


def _first_meminfo(readings: Iterable[Reading]) -> Meminfo | None:
    return next((r.notes.meminfo for r in readings if r.notes.meminfo is not None), None)


def _meminfo_of(moment: Moment, readings: Iterable[Reading], page_size_bytes: int | Unknown) -> Meminfo | None:
    """The /proc/meminfo that fits the moment best: used memory nearest to the pages counted."""
    candidates = [r.notes.meminfo for r in readings if r.notes.meminfo is not None]
    # One that does not tell its free memory cannot be judged to fit: it serves where no other is there.
    told = [(m, m.total_bytes - m.free_bytes) for m in candidates if m.free_bytes is not None]
    pages = moment.totals.pages if moment.totals is not None else total_pages(moment.counts)
    if not told or pages is None or isinstance(page_size_bytes, Unknown):
        return candidates[0] if candidates else None
    counted_bytes = pages * page_size_bytes
    return min(told, key=lambda candidate: abs(candidate[1] - counted_bytes))[0]
