"""Readings of the living machine against each other: who holds how much, by how much more than before, how fast."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from oomscope.attribution.culprit import attribute, name_of
from oomscope.attribution.witness_comparison import pages_by_culprit, pages_by_stack
from oomscope.model.account import BYTES, Account, Entry
from oomscope.model.counts import Counts
from oomscope.model.snapshot import Snapshot, SnapshotRow
from oomscope.numeric import np

CULPRIT, STACK = "culprit", "stack"
_ORDERS: dict[str, Callable[[SnapshotRow], tuple[float, str]]] = {
    "amount": lambda row: (-row.amount, row.name),
    "change": lambda row: (-row.change, row.name),
    "rate": lambda row: (-row.per_s, row.name),
    "name": lambda row: (0, row.name),
}
GROUPS, SORTS = (CULPRIT, STACK), tuple(_ORDERS)
Amounts = Mapping[str, Mapping[str, int]]  # group_by -> name -> amount
Ages = Mapping[str, Mapping[str, float]]  # group_by -> name -> how long its pages have been held on average, in seconds


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading: amounts by name, folded in each way."""

    at_s: float
    took_s: float
    by: Amounts
    ages: Ages = field(default_factory=dict)


def amounts_of_stacks(counts: Counts) -> Amounts:
    """Pages by culprit (what has none by what it is), and by stack, named by its frames."""
    by_culprit = {str(culprit): pages for culprit, pages in pages_by_culprit(counts).items()}
    by_stack: dict[str, int] = {}
    for stack, pages in pages_by_stack(counts).items():
        name = name_of(stack)
        if name.startswith("("):
            by_culprit[name] = by_culprit.get(name, 0) + pages
        path = " < ".join(frame.function for frame in stack.frames) or name
        by_stack[path] = by_stack.get(path, 0) + pages
    return {CULPRIT: by_culprit, STACK: by_stack}


def ages_of_stacks(counts: Counts, at_ns: int) -> Ages:
    """How long the pages of each have been held, on average: to a 64th of the span that times are kept over."""
    bins = counts.ages.pages.shape[1]
    age_s = (at_ns - (np.arange(bins) + 0.5) * counts.ages.bin_ns).clip(0) / 1e9
    held_s = counts.ages.pages @ age_s
    sums: dict[str, dict[str, list[float]]] = {CULPRIT: {}, STACK: {}}
    for stack, pages_s, pages in zip(counts.stacks, held_s.tolist(), counts.timed_pages.tolist(), strict=True):
        path = " < ".join(frame.function for frame in stack.frames) or name_of(stack)
        answers = attribute(stack).culprit
        culprit = name_of(stack) if answers is None else str(answers)
        for group_by, name in ((CULPRIT, culprit), (STACK, path)):
            each = sums[group_by].setdefault(name, [0.0, 0.0])
            each[0] += pages_s
            each[1] += pages
    return {group_by: {name: of[0] / of[1] for name, of in names.items() if of[1]} for group_by, names in sums.items()}


def amounts_of_sites(sites: Iterable[Entry]) -> Amounts:
    """Amounts by function, and by call site."""
    by_function: dict[str, int] = {}
    by_place: dict[str, int] = {}
    for site in sites:
        by_function[str(site)] = by_function.get(str(site), 0) + site.amount
        by_place[f"{site} {site.place}"] = by_place.get(f"{site} {site.place}", 0) + site.amount
    return {CULPRIT: by_function, STACK: by_place}


def amounts_of_accounts(tables: Iterable[Account], page_bytes: int) -> dict[str, int]:
    """Bytes by the holders of some accounts, whatever these are in."""
    found: dict[str, int] = {}
    for each in tables:
        factor_bytes = 1 if each.unit == BYTES else page_bytes
        for entry in each.entries:
            found[str(entry)] = found.get(str(entry), 0) + entry.amount * factor_bytes
    return found


def snapshot(
    first: Sample,
    before: Sample,
    latest: Sample,
    *,
    source: str,
    unit: str,
    ram: int | None,
    group_by: str,
    sort: str,
) -> Snapshot:
    """The latest reading: changes are from the first one, rates from the one before; `ram` is in the unit."""
    now, then, began = latest.by[group_by], before.by[group_by], first.by[group_by]
    apart_s = latest.at_s - before.at_s
    rows = [
        SnapshotRow(
            name=name,
            amount=now.get(name, 0),
            change=now.get(name, 0) - began.get(name, 0),
            per_s=(now.get(name, 0) - then.get(name, 0)) / apart_s if apart_s > 0 else 0.0,
            share_of_ram=None if ram is None else now.get(name, 0) / ram,
            age_s=latest.ages.get(group_by, {}).get(name),
        )
        for name in {**began, **now}
    ]
    total = sum(now.values())
    return Snapshot(
        source=source,
        unit=unit,
        group_by=group_by,
        sort=sort,
        since_s=latest.at_s - first.at_s,
        took_s=latest.took_s,
        total=total,
        total_change=total - sum(began.values()),
        rows=tuple(sorted(rows, key=_ORDERS[sort])),
    )
