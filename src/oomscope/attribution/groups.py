"""Holdings grouped by any property: what page_owner_sort calls culling, with exact sums."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from oomscope.attribution.culprit import module_name, name_of
from oomscope.attribution.holdings import culprit_of, culprits
from oomscope.errors import BadQuestion, NothingToExplain
from oomscope.model.batch import Column, Place, Request, Task
from oomscope.model.counts import Counts, Split
from oomscope.model.holding import Culprit, Group, Holding
from oomscope.model.reading import ToldCulprit
from oomscope.numeric import np

_OF_HOLDINGS: dict[str, Callable[[Holding], str | None]] = {
    "stack": lambda h: name_of(h.stack),
    "culprit": lambda h: None if h.culprit is None else str(h.culprit),
    "module": lambda h: module_name(h.culprit),
    "kind": lambda h: h.kind,
}


_OF_CULPRITS: dict[str, Callable[[Culprit], str]] = {
    "culprit": str,
    "module": lambda culprit: module_name(culprit) or "",
}


@dataclass(frozen=True, slots=True)
class _OfRecords:
    """A property that only records tell: which split has it, and how to name a value of that split."""

    split: Callable[[Counts], Split[Any]]
    name: Callable[[Any], Hashable]
    shown: Callable[[Any], str] = str
    absent: str = "(not told)"


def zone_name(node: int | None, zone: int) -> str:
    """A zone as it is called in a row: by its index, on its node where that is known."""
    return f"zone {zone}" if node is None else f"node {node} zone {zone}"


def _task(of: Callable[[Task], Hashable]) -> _OfRecords:
    return _OfRecords(lambda c: c.tasks, of)


def _gfp(request: Request) -> str:
    return f"{request.gfp_mask:#x}({request.gfp_flags})"


OF_RECORDS: dict[str, _OfRecords] = {
    "comm": _task(lambda task: task.comm),
    "pid": _task(lambda task: task.pid),
    "tgid": _task(lambda task: task.tgid),
    "gfp": _OfRecords(lambda c: c.requests, _gfp),
    "order": _OfRecords(lambda c: c.requests, lambda request: request.order),
    "node": _OfRecords(lambda c: c.places, lambda place: _node(place)),
    "zone": _OfRecords(lambda c: c.places, lambda place: _zone(place), lambda z: zone_name(*z)),
    "memcg": _OfRecords(lambda c: c.memcgs, lambda memcg: memcg, absent="(not charged)"),
}
PROPERTIES = (*_OF_HOLDINGS, *OF_RECORDS)
SORTS = ("pages", "blocks", "age", "name")


def _node(place: Place) -> int | None:
    return place.node


def _zone(place: Place) -> tuple[int | None, int] | None:
    return None if place.zone is None else (place.node, place.zone)


def group(
    counts: Counts,
    held: list[Holding],
    by: str,
    *,
    sort: str = "pages",
    min_pages: int = 0,
    told: Collection[ToldCulprit] = (),
) -> list[Group]:
    """Sums per value of one property, sorted, groups under `min_pages` left out.

    Of culprits and their modules, what a dying kernel has `told` it added up over more stacks than `held` goes before.

    Raises BadQuestion for a property or sort that does not exist, NothingToExplain where this evidence does not have
    the property.
    """
    if not held and not counts.stacks and not (told and by in _OF_CULPRITS):
        raise NothingToExplain(f"--by {by}: this evidence has no stacks", advice="page_owner and core dumps do")
    if by in _OF_HOLDINGS:
        rows = _by_holding(held, _OF_HOLDINGS[by], distinct=by == "stack")
        if by in _OF_CULPRITS and told:
            rows = _with_told(rows, held, told, _OF_CULPRITS[by])
    elif by in OF_RECORDS:
        rows = _by_record(counts, OF_RECORDS[by], by)
    else:
        raise BadQuestion(f"--by {by}: not one of {', '.join(PROPERTIES)}")
    kept = [row for row in rows if (row.pages if row.pages is not None else row.blocks or 0) >= min_pages]
    return sorted_groups(kept, sort)


def sorted_groups(rows: Iterable[Group], sort: str) -> list[Group]:
    """Most pages or blocks first, oldest first allocation first, or by name; ties by name."""
    keys: dict[str, Callable[[Group], tuple[Any, ...]]] = {
        "pages": lambda g: (-(g.pages or 0), g.name),
        "blocks": lambda g: (-(g.blocks or 0), g.name),
        "age": lambda g: (g.first_ns is None, g.first_ns or 0, g.name),
        "name": lambda g: (g.name,),
    }
    if sort not in keys:
        raise BadQuestion(f"--sort {sort}: not one of {', '.join(SORTS)}")
    return sorted(rows, key=keys[sort])


def _by_holding(held: list[Holding], name: Callable[[Holding], str | None], *, distinct: bool) -> list[Group]:
    groups: dict[object, list[Holding]] = {}
    for holding in held:
        key = holding.row if distinct else name(holding)
        groups.setdefault(key, []).append(holding)
    return [
        Group(
            name=name(members[0]) or "(none answers)",
            pages=_sum(h.pages for h in members),
            blocks=_sum(h.blocks for h in members),
            stacks=len(members),
            first_ns=min((h.first_ns for h in members if h.first_ns is not None), default=None),
            last_ns=max((h.last_ns for h in members if h.last_ns is not None), default=None),
            holding=members[0] if distinct else None,
        )
        for members in groups.values()
    ]


def _with_told(
    rows: list[Group], held: list[Holding], told: Collection[ToldCulprit], name: Callable[[Culprit], str]
) -> list[Group]:
    """The rows, with what is told of theirs, and those that are told of alone."""
    by_name = {row.name: row for row in rows}
    named = {name(culprit_of(each)) for each in told}
    sums: dict[str, tuple[int, int]] = {}
    for each in culprits(held, told):
        pages, stacks = sums.get(key := name(each.culprit), (0, 0))
        sums[key] = pages + each.pages, stacks + each.stacks
    for key in named:
        row = by_name.get(key, Group(key, None, None, None, None, None))
        by_name[key] = replace(row, pages=sums[key][0], blocks=None, stacks=sums[key][1])
    return list(by_name.values())


def _by_record(counts: Counts, of: _OfRecords, by: str) -> list[Group]:
    split = of.split(counts)
    names = [of.name(value) for value in split.values]
    if all(name is None for name in names) and of.absent == "(not told)":
        raise NothingToExplain(f"--by {by}: this evidence does not tell it", advice="page_owner records do")
    distinct = list(dict.fromkeys(names))
    index_of = {name: index for index, name in enumerate(distinct)}
    group_of = np.array([index_of[name] for name in names], np.int64)
    size = len(distinct)
    pages, blocks, timed = (_per_group(group_of, c, size) for c in (split.pages, split.blocks, split.timed_blocks))
    first_ns = np.full(size, np.iinfo(np.int64).max)
    last_ns = np.zeros(size, np.int64)
    np.minimum.at(first_ns, group_of, split.first_ns)
    np.maximum.at(last_ns, group_of, split.last_ns)
    stacks = _distinct_stacks(split, group_of, size)
    return [
        Group(
            name=of.absent if name is None else of.shown(name),
            pages=None if counts.pages is None else int(pages[i]),
            blocks=None if counts.blocks is None else int(blocks[i]),
            stacks=None if split.pruned else int(stacks[i]),
            first_ns=int(first_ns[i]) if timed[i] else None,
            last_ns=int(last_ns[i]) if timed[i] else None,
        )
        for i, name in enumerate(distinct)
        if pages[i] or blocks[i]
    ]


def _per_group(group_of: Column, values: Column, size: int) -> Column:
    sums = np.zeros(size, np.int64)
    np.add.at(sums, group_of, values)
    return sums


def _distinct_stacks(split: Split[Any], group_of: Column, size: int) -> Column:
    pairs = np.unique(group_of[split.pair_value] << 32 | split.pair_stack)
    return np.bincount(pairs >> 32, minlength=size).astype(np.int64)


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
