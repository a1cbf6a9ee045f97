"""What stands in a cell of any table: shares, kinds with their parts, and the size of the page that they are in."""

from __future__ import annotations

from oomscope.model.balance import BalanceRow
from oomscope.model.unknown import Unknown
from oomscope.model.verdict import Verdict
from oomscope.units import share_text

PARTS_SHOWN = 3


def share_of_ram(share: float | None) -> str:
    """A share of RAM (0..1) as people read it; empty where it is not known."""
    return "" if share is None else share_text(share)


def kind_with_parts(row: BalanceRow) -> str:
    """A row's kind, and the greatest of what is in it."""
    named = ", ".join(f"{name} {pages:,}" for name, pages in row.parts[:PARTS_SHOWN])
    more = f" and {len(row.parts) - PARTS_SHOWN:,} more" if len(row.parts) > PARTS_SHOWN else ""
    return f"{row.kind}: {named}{more}" if named else row.kind


def page_bytes_of(verdict: Verdict) -> int | None:
    """The page size; where kB became pages by the usual one, that gives the kB again."""
    kernel = verdict.kernel
    if not isinstance(kernel.page_size_bytes, Unknown):
        return kernel.page_size_bytes
    return kernel.page_size_assumed_bytes if verdict.oom is None else None
