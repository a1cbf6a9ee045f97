"""Every page of RAM in one row."""

from __future__ import annotations

from collections.abc import Iterable

from oomscope.model.holding import KINDS, Holding
from oomscope.model.verdict import Balance, BalanceRow


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
