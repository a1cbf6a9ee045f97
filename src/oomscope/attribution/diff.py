"""Two readings of one machine subtracted: by stack, culprit, slab cache, call site and balance row."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from oomscope.attribution.culprit import attribute
from oomscope.attribution.facts import Facts
from oomscope.model.account import PAGES, Account
from oomscope.model.balance import Balance
from oomscope.model.diff import BALANCE, CULPRIT, STACK, Change
from oomscope.model.stack import Stack

Key = TypeVar("Key", bound=Hashable)
_UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True)
class Scale:
    """What turns a change in pages into bytes and into a rate; None where it is not known."""

    page_bytes: int | None
    apart_ns: int | None


def changes(before: Facts, after: Facts, scale: Scale) -> tuple[Change, ...]:
    """Everything that is not the same in both, the largest change of each kind first."""
    one, other = before.evidence.latest.counts, after.evidence.latest.counts
    found: list[Change] = []
    if one.stacks and other.stacks and one.pages is not None and other.pages is not None:
        for stack, pages in _pairs(before.pages_by_stack, after.pages_by_stack).items():
            found.append(_in_pages(STACK, _name_of(stack), pages, scale, stack))
        for culprit, pages in _pairs(before.pages_by_culprit, after.pages_by_culprit).items():
            found.append(_in_pages(CULPRIT, str(culprit), pages, scale))
    ours, theirs = before.accounts, after.accounts
    told = {each.kind: each for each in theirs.accounts}
    for mine in ours.accounts:
        if mine.kind in told:
            amounts = _pairs(_amounts(mine), _amounts(told[mine.kind]))
            change = _in_pages if mine.unit == PAGES else _in_bytes
            found += [change(mine.kind, name, pair, scale) for name, pair in amounts.items()]
    if before.balance is not None and after.balance is not None:
        for kind, pages in _pairs(_rows(before.balance), _rows(after.balance)).items():
            if kind not in _not_in_both(before.balance, after.balance):
                found.append(_in_pages(BALANCE, kind, pages, scale))
    changed = [change for change in found if change.change_bytes or change.change_pages]
    return tuple(sorted(changed, key=_order))


def _order(change: Change) -> tuple[int, str, tuple[str, ...]]:
    """The largest first; equal ones by name, whatever order a worker met them in."""
    moved = abs(change.change_pages or change.change_bytes or 0)
    return -moved, change.name, () if change.stack is None else change.stack.texts


def both(before: Facts, after: Facts) -> tuple[tuple[Stack, int, int], ...]:
    """Every stack with its pages before and after; none where one of the two does not count pages."""
    one, other = before.pages_by_stack, after.pages_by_stack
    pairs = _pairs(one, other) if one and other else {}
    return tuple((stack, *pages) for stack, pages in pairs.items())


def _pairs(before: Mapping[Key, int], after: Mapping[Key, int]) -> dict[Key, tuple[int, int]]:
    return {key: (before.get(key, 0), after.get(key, 0)) for key in {**before, **after}}


def _not_in_both(before: Balance, after: Balance) -> set[str]:
    """Rows that one of the readings does not tell: they are not 0 for that, and what is left is not comparable then."""
    one, other = set(before.not_told), set(after.not_told)
    return one | other | ({_UNEXPLAINED} if one != other else set())


def _rows(balance: Balance) -> dict[str, int]:
    return {**{row.kind: row.pages for row in balance.rows}, _UNEXPLAINED: balance.unexplained_pages}


def _in_pages(kind: str, name: str, pages: tuple[int, int], scale: Scale, stack: Stack | None = None) -> Change:
    page_bytes = scale.page_bytes
    sizes = None if page_bytes is None else (pages[0] * page_bytes, pages[1] * page_bytes)
    return _change(kind, name, pages, sizes, scale, stack)


def _in_bytes(kind: str, name: str, sizes: tuple[int, int], scale: Scale) -> Change:
    return _change(kind, name, None, sizes, scale, None)


def _change(
    kind: str,
    name: str,
    pages: tuple[int, int] | None,
    sizes: tuple[int, int] | None,
    scale: Scale,
    stack: Stack | None,
) -> Change:
    grown_bytes = None if sizes is None else sizes[1] - sizes[0]
    rate = None if grown_bytes is None or not scale.apart_ns else grown_bytes * 1e9 / scale.apart_ns
    return Change(
        kind=kind,
        name=name,
        before_pages=None if pages is None else pages[0],
        after_pages=None if pages is None else pages[1],
        before_bytes=None if sizes is None else sizes[0],
        after_bytes=None if sizes is None else sizes[1],
        change_pages=None if pages is None else pages[1] - pages[0],
        change_bytes=grown_bytes,
        bytes_per_s=rate,
        stack=stack,
    )


def _name_of(stack: Stack) -> str:
    culprit = attribute(stack).culprit
    return str(culprit) if culprit is not None else stack.texts[0] if stack.texts else f"handle {stack.handle}"


def _amounts(told: Account) -> dict[str, int]:
    return {f"{entry} {entry.place}".rstrip(): entry.amount for entry in told.entries}
