"""Every page of RAM in one row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from oomscope.model.balance import Balance, BalanceRow
from oomscope.model.holding import KERNEL, KINDS, Holding

_PARTS = 10
_VMALLOC = "__vmalloc_"  # __vmalloc_node_range(), __vmalloc_area_node()


def balance(held: Iterable[Holding], *, ram_pages: int, free_pages: int) -> Balance:
    """Free pages, holdings by kind, and what neither explains.

    The remainder is what page_owner never sees: per-cpu lists, pages given back behind its back, and the time between
    the readings.
    """
    pages = dict.fromkeys(KINDS, 0)
    for holding in held:
        pages[holding.kind] += holding.pages or 0
    rows = [BalanceRow("free", free_pages)]
    rows += [BalanceRow(kind, count) for kind, count in pages.items() if count]
    unexplained_pages = ram_pages - sum(row.pages for row in rows)
    return Balance(ram_pages, None, tuple(rows), unexplained_pages)


def through_vmalloc(held: Iterable[Holding]) -> int:
    """Pages of kernel memory whose stack passes through vmalloc (mm/vmalloc.c)."""
    return sum(
        holding.pages or 0
        for holding in held
        if holding.kind == KERNEL and any(_VMALLOC in frame.symbol for frame in holding.stack.frames)
    )


@dataclass(frozen=True, slots=True)
class KindSplit:
    """One kind of memory by culprit: all its pages, and the greatest culprits with theirs."""

    pages: int
    parts: tuple[tuple[str, int], ...]


def split(held: Iterable[Holding], kind: str) -> KindSplit:
    """The holdings of a kind, rolled up to their culprits, the greatest first."""
    pages: dict[str, int] = {}
    for holding in held:
        if holding.kind == kind and holding.pages:
            name = str(holding.culprit) if holding.culprit is not None else "no culprit"
            pages[name] = pages.get(name, 0) + holding.pages
    ranked = sorted(pages.items(), key=lambda part: -part[1])
    return KindSplit(sum(pages.values()), tuple(ranked[:_PARTS]))
