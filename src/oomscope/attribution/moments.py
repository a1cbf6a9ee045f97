"""Readings of one machine put in order: which moments there are, which readings are witnesses of which."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from oomscope.attribution import machine
from oomscope.attribution.tally import Tally
from oomscope.model.absent import Absent
from oomscope.model.counts import Counts
from oomscope.model.evidence import Evidence, Moment
from oomscope.model.reading import Meminfo, Reading
from oomscope.model.stack import Stack


def arrange(
    readings: tuple[Reading, ...], unused: tuple[Absent, ...] = (), *, page_size_bytes: int | None = None
) -> Evidence:
    """Evidence of one machine from its readings; at least one of them holds counts.

    Moments are ordered by what they say: the newest allocation time of a dump, the time stamp of a log. A
    page_owner_stacks reading tells no time: it is the witness of the dump it agrees with best. What cannot be placed
    is left out, and said.
    """
    handles: dict[int, Stack] = {}
    for reading in readings:
        handles.update(reading.handles)
    counted = [(r, _resolved(r.counts, handles)) for r in readings if r.counts is not None and r.notes.records]
    dumps = [Moment(r, c, _newest(c)) for r, c in counted if r.format == "page_owner"]
    reports = [Moment(r, c, _stamped(r)) for r, c in counted if r.notes.reports]
    stacks = [Moment(r, c, _untimed(r)) for r, c in counted if r.format == "page_owner_stacks"]
    absent: list[Absent] = []
    if dumps:
        dumps, stacks = _with_witnesses(dumps, stacks)
    if stacks and (dumps or reports or len(stacks) > 1):
        placed, stacks = ([], stacks) if dumps or reports else _largest(stacks)
        dumps += placed
        absent += [
            Absent(f"the time of {m.reading.origin}", "it tells none: neither added nor compared") for m in stacks
        ]
        stacks = []
    moments = tuple(sorted(dumps + stacks, key=_order) + sorted(reports, key=_order))
    if reports and dumps and _order(reports[-1]) < _order(moments[len(dumps) - 1]):
        moments = tuple(sorted(moments, key=_order))
    kernel = machine.kernel(readings, [m.counts for m in moments], _first_meminfo(readings))
    if page_size_bytes is not None:
        kernel = type(kernel)(kernel.release, kernel.arch, page_size_bytes)
    meminfo = _meminfo_of(moments[-1], readings, kernel.page_size_bytes)
    return Evidence(
        kernel=kernel,
        ram_pages=machine.ram_pages(meminfo, moments[-1].totals, kernel.page_size_bytes),
        free_pages=machine.free_pages(meminfo, kernel.page_size_bytes),
        moments=moments,
        readings=readings,
        meminfo=meminfo,
        absent=tuple(absent),
        unused=unused,
    )


def total_pages(counts: Counts) -> int | None:
    """All pages counted, None where the evidence counts allocations only."""
    return None if counts.pages is None else int(counts.pages.sum())


def _newest(counts: Counts) -> int | Absent:
    timed = counts.timed_pages > 0
    if not timed.any():
        return Absent("when the dump was taken", "its records carry no time (before 5.11, or show_stacks)")
    return int(counts.last_ns[timed].max())


def _stamped(reading: Reading) -> int | Absent:
    at_ns = reading.notes.at_ns
    return Absent("when the report was printed", "its lines carry no printk time stamp") if at_ns is None else at_ns


def _untimed(reading: Reading) -> Absent:
    return Absent(f"when {reading.origin} was read", "page_owner_stacks carries no time")


def _order(moment: Moment) -> int:
    return -1 if isinstance(moment.at_ns, Absent) else moment.at_ns


def _largest(stacks: list[Moment]) -> tuple[list[Moment], list[Moment]]:
    by_size = sorted(stacks, key=lambda moment: total_pages(moment.counts) or 0)
    return by_size[-1:], by_size[:-1]


def _with_witnesses(dumps: list[Moment], stacks: list[Moment]) -> tuple[list[Moment], list[Moment]]:
    """Give each dump the page_owner_stacks reading it agrees with best; the readings that are left over."""
    distances = sorted(
        (_distance(dump.counts, witness.counts), d, w)
        for d, dump in enumerate(dumps)
        for w, witness in enumerate(stacks)
    )
    witness_of: dict[int, int] = {}
    for _, d, w in distances:
        if d not in witness_of and w not in witness_of.values():
            witness_of[d] = w
    matched = [
        Moment(m.reading, m.counts, m.at_ns, (stacks[witness_of[d]].reading,)) if d in witness_of else m
        for d, m in enumerate(dumps)
    ]
    return matched, [m for w, m in enumerate(stacks) if w not in witness_of.values()]


def _distance(one: Counts, other: Counts) -> int:
    """How far two counts of the same pages are apart, in pages (or allocations, where one counts those)."""
    if one.pages is not None and other.pages is not None:
        first, second = by_stack(one.stacks, one.pages), by_stack(other.stacks, other.pages)
    elif one.blocks is not None and other.blocks is not None:
        first, second = by_stack(one.stacks, one.blocks), by_stack(other.stacks, other.blocks)
    else:
        return 1 << 62
    return sum(abs(first.get(s, 0) - second.get(s, 0)) for s in first.keys() | second.keys())


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


def _first_meminfo(readings: Iterable[Reading]) -> Meminfo | None:
    return next((r.notes.meminfo for r in readings if r.notes.meminfo is not None), None)


def _meminfo_of(moment: Moment, readings: Iterable[Reading], page_size_bytes: int | Absent) -> Meminfo | None:
    """The /proc/meminfo that fits the moment best: used memory nearest to the pages counted."""
    candidates = [r.notes.meminfo for r in readings if r.notes.meminfo is not None]
    pages = moment.totals.pages if moment.totals is not None else total_pages(moment.counts)
    if not candidates or pages is None or isinstance(page_size_bytes, Absent):
        return candidates[0] if candidates else None
    counted_bytes = pages * page_size_bytes
    return min(candidates, key=lambda m: abs(m.total_bytes - (m.free_bytes or 0) - counted_bytes))
