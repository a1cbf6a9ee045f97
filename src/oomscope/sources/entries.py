"""Rows of an account while its file is read: as many as are kept, and what is beyond in one row that says so."""

from __future__ import annotations

from oomscope import bounds
from oomscope.model.account import Account, Entry, account
from oomscope.model.reading import Notes
from oomscope.model.unknown import Unknown

BEYOND = "(rows beyond the bound)"


class Entries:
    """Rows by name, module and place; beyond bounds.NAMES they are added up as one, so that totals stay true."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._rows: dict[tuple[str, str | None, str], list[int]] = {}
        self._entries: list[Entry] = []
        self._beyond = [0, 0]
        self._first = ""

    def is_begun_anew(self, row: str) -> bool:
        """Whether a list's first row comes again: what was read before is another reading, and is let go."""
        if self._first != row:
            self._first = self._first or row
            return False
        self._rows.clear()
        self._entries.clear()
        self._beyond = [0, 0]
        self._notes.absent = (Unknown("an earlier reading of the same list", "the one that follows is used"),)
        return True

    def add(self, name: str, amount: int, count: int, module: str | None = None, place: str = "") -> None:
        """A row of its own."""
        if self._is_absurd(amount):
            return
        if len(self._entries) < bounds.NAMES:
            self._entries.append(Entry(name, amount, count, module, place))
        else:
            self._leave_out(amount, count)

    def merge(self, name: str, amount: int, module: str | None = None, place: str = "") -> None:
        """One piece more of what has this name, module and place."""
        if self._is_absurd(amount):
            return
        key = (name, module, place)
        row = self._rows.get(key)
        if row is None:
            if len(self._rows) >= bounds.NAMES:
                self._leave_out(amount, 1)
                return
            row = self._rows[key] = [0, 0]
        row[0] += amount
        row[1] += 1

    def account(self, kind: str, unit: str, counted: str) -> tuple[Account, ...]:
        """The account of all rows, see model.account.account."""
        merged = [Entry(name, amount, n, module, place) for (name, module, place), (amount, n) in self._rows.items()]
        beyond = [Entry(BEYOND, self._beyond[0], self._beyond[1])] if self._beyond[1] else []
        return account(kind, unit, counted, [*self._entries, *merged, *beyond])

    def _is_absurd(self, amount: int) -> bool:
        """More than any machine has, in whatever unit: a damaged record."""
        absurd = amount > bounds.ROW_BYTES
        self._notes.stats.corrupt_records += absurd
        return absurd

    def _leave_out(self, amount: int, count: int) -> None:
        self._beyond[0] += amount
        self._beyond[1] += count
        self._notes.stats.leave_out("rows")
