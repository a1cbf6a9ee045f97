"""From Counts to Holdings: per stack, per culprit, and per whatever is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Generic, TypeVar

from oomscope.attribution.culprit import attribute
from oomscope.attribution.frame_rules import subsystem_of
from oomscope.model.batch import Column, Request
from oomscope.model.counts import Counts, Split
from oomscope.model.holding import Culprit, CulpritHolding, Holding, HoldingDetail, Part
from oomscope.model.reading import ToldCulprit
from oomscope.numeric import np

Value = TypeVar("Value")
_ROWS_AT_ONCE = 1 << 14


def holdings(counts: Counts) -> list[Holding]:
    """Every stack that holds something, most pages first (allocations where pages are not known), then by name."""
    found: list[Holding] = []
    if not counts.stacks:
        return found
    timed = counts.timed_pages > 0
    pages = _optional_list(counts.pages, len(counts.stacks))
    blocks = _optional_list(counts.blocks, len(counts.stacks))
    first_ns, last_ns = counts.first_ns.tolist(), counts.last_ns.tolist()
    for row, stack in enumerate(counts.stacks):
        if not pages[row] and not blocks[row]:
            continue
        attributed = attribute(stack)
        found.append(
            Holding(
                stack=stack,
                kind=attributed.kind,
                label=attributed.label,
                culprit=attributed.culprit,
                culprit_index=attributed.culprit_index,
                culprit_is_helper=attributed.is_helper,
                pages=pages[row],
                blocks=blocks[row],
                first_ns=first_ns[row] if timed[row] else None,
                last_ns=last_ns[row] if timed[row] else None,
                row=row,
            )
        )
    found.sort(key=lambda h: h.stack.handle or 0)
    found.sort(key=lambda h: h.stack.texts)
    found.sort(key=lambda h: (-(h.pages or 0), -(h.blocks or 0)))
    return found


def culprits(held: Iterable[Holding], told: Iterable[ToldCulprit] = ()) -> list[CulpritHolding]:
    """Holdings rolled up to who answers for them, most pages first; stacks without a culprit are not in it.

    What a dying kernel has `told` it added up over all stacks, of which `held` are the greatest only, goes before.
    """
    rows_of: dict[Culprit, list[Holding]] = {}
    for holding in held:
        if holding.culprit is not None:
            rows_of.setdefault(holding.culprit, []).append(holding)
    told_of: dict[Culprit, ToldCulprit] = {}
    for each in told:  # what a compiler made of one function in several forms may be told in as many lines
        known = told_of.get(culprit := culprit_of(each))
        rows_of.setdefault(culprit, [])
        told_of[culprit] = (
            each if known is None else replace(known, pages=known.pages + each.pages, stacks=known.stacks + each.stacks)
        )
    rolled_up = [_rolled_up(culprit, group, told_of.get(culprit)) for culprit, group in rows_of.items()]
    rolled_up.sort(key=lambda c: (-c.pages, str(c.culprit)))
    return rolled_up


def culprit_of(told: ToldCulprit) -> Culprit:
    """Who that is."""
    return Culprit(told.function, told.module, told.module or subsystem_of(told.function))


_NO_DETAIL = HoldingDetail((), (), (), (), ())


class Details:
    """How holdings split over orders, requests, tasks, places and memcgs; built once for many look-ups."""

    def __init__(self, counts: Counts, *, most: int = 5) -> None:
        splits = (counts.requests, counts.tasks, counts.places, counts.memcgs)
        self._tells_nothing = not any(len(split.pair_stack) for split in splits)
        if self._tells_nothing:
            return
        self._requests = _Pairs(counts.requests, len(counts.stacks), None)
        self._tasks = _Pairs(counts.tasks, len(counts.stacks), most)
        self._places = _Pairs(counts.places, len(counts.stacks), most)
        self._memcgs = _Pairs(counts.memcgs, len(counts.stacks), most)

    def of(self, holding: Holding) -> HoldingDetail:
        """The largest parts of one holding; orders and requests are complete."""
        if self._tells_nothing:
            return _NO_DETAIL
        requests = self._requests.of(holding.row)
        return HoldingDetail(
            orders=_orders(requests),
            requests=requests,
            tasks=self._tasks.of(holding.row),
            places=self._places.of(holding.row),
            memcgs=self._memcgs.of(holding.row),
        )


class _Pairs(Generic[Value]):
    """The (stack, value) pairs of one split, found by stack, the largest first; equal ones in the order of names."""

    def __init__(self, split: Split[Value], stacks: int, most: int | None) -> None:
        self._split = split
        self._most = most
        rank = np.empty(len(split.values), np.int64)
        rank[sorted(range(len(rank)), key=lambda value: str(split.values[value]))] = np.arange(len(rank))
        self._order = np.lexsort((rank[split.pair_value], -split.pair_blocks, -split.pair_pages, split.pair_stack))
        self._starts = np.searchsorted(split.pair_stack, np.arange(stacks + 1)).tolist()

    def of(self, row: int) -> tuple[tuple[Value, Part], ...]:
        split, start, stop = self._split, self._starts[row], self._starts[row + 1]
        if start == stop:
            return ()
        pairs = self._order[start : stop if self._most is None else min(stop, start + self._most)]
        return tuple(
            (split.values[value], Part(pages, blocks))
            for value, pages, blocks in zip(
                split.pair_value[pairs].tolist(),
                split.pair_pages[pairs].tolist(),
                split.pair_blocks[pairs].tolist(),
                strict=True,
            )
        )


def _orders(requests: Iterable[tuple[Request, Part]]) -> tuple[tuple[int, Part], ...]:
    sums: dict[int, Part] = {}
    for request, part in requests:
        before = sums.get(request.order, Part(0, 0))
        sums[request.order] = Part(before.pages + part.pages, before.blocks + part.blocks)
    return tuple(sorted(sums.items(), key=lambda item: (-item[1].pages, item[0])))


def _rolled_up(culprit: Culprit, group: list[Holding], told: ToldCulprit | None) -> CulpritHolding:
    pages, stacks = sum(h.pages or 0 for h in group), len(group)
    if told is not None:  # a part is never larger than its whole
        pages, stacks = max(pages, told.pages), max(stacks, told.stacks)
    return CulpritHolding(
        culprit=culprit,
        kinds=tuple(sorted({h.kind for h in group})),
        pages=pages,
        stacks=stacks,
        rows=tuple([h.row for h in group]),
        first_ns=min((h.first_ns for h in group if h.first_ns is not None), default=None),
        last_ns=max((h.last_ns for h in group if h.last_ns is not None), default=None),
    )


def ages_of(counts: Counts, rolled_up: list[CulpritHolding]) -> Column:
    """Pages of each culprit by allocation time, shape (culprits, bins); see Ages."""
    rows = np.array([row for each in rolled_up for row in each.rows], np.int64)
    group_of = np.repeat(np.arange(len(rolled_up)), [len(each.rows) for each in rolled_up])
    sums = np.zeros((len(rolled_up), counts.ages.pages.shape[1]), np.int64)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        some = slice(start, start + _ROWS_AT_ONCE)
        np.add.at(sums, group_of[some], counts.ages.pages[rows[some]])
    return sums


def _optional_list(column: Column | None, size: int) -> list[int] | list[None]:
    return [None] * size if column is None else column.tolist()
