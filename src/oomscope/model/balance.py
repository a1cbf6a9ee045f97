"""Every page of RAM in one row."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BalanceRow:
    """One kind of memory and its pages; `parts` names what is in it, most pages first, as far as that is known.

    `source` is where the number stands in the input, where it is one line of a report.
    """

    kind: str
    pages: int
    parts: tuple[tuple[str, int], ...] = ()
    source: str = ""


@dataclass(frozen=True, slots=True)
class Balance:
    """Every page of managed RAM in one row; `unexplained_pages` is the visible remainder.

    A negative remainder means that the inputs were not taken at one moment (`is_consistent` is False).
    `unexplained_parts` names who holds it, as far as other evidence tells; `notes` are bounds and contradictions.
    `missing` are rows that a kernel always counts and the input does not tell: they stand among the unexplained.
    `not_told` are all rows whose counters the input does not have: without a row, and not 0 for that.
    """

    ram_pages: int
    reserved_pages: int | None
    rows: tuple[BalanceRow, ...]
    unexplained_pages: int
    unexplained_parts: tuple[tuple[str, int], ...] = ()
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    not_told: tuple[str, ...] = ()

    @property
    def is_consistent(self) -> bool:
        """Whether the rows fit into RAM."""
        return self.unexplained_pages >= 0
