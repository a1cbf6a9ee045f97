"""What changed between two readings of one machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oomscope.model.stack import Stack
    from oomscope.model.unknown import Unknown

# Beside the kinds of an account (model/account.py).
STACK, CULPRIT, BALANCE = "stack", "culprit", "balance row"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that grew or shrank, in bytes; in pages too where it is counted in pages.

    `before_*` and `after_*` are 0 where it was not there. `bytes_per_s` is None where the time between is not known.
    """

    kind: str
    name: str
    before_pages: int | None
    after_pages: int | None
    before_bytes: int | None
    after_bytes: int | None
    change_pages: int | None
    change_bytes: int | None
    bytes_per_s: float | None
    stack: Stack | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """Two readings, the earlier first, and all that changed between them, the largest change of each kind first.

    `apart_ns` is the time between them, None where it is not known or the machine restarted; `restart` says what shows
    that it did. `stacks` are all stacks of both, those that did not change too, with their pages before and after.
    """

    before: str
    after: str
    apart_ns: int | None
    restart: str | None
    changes: tuple[Change, ...]
    absent: tuple[Unknown, ...]
    stacks: tuple[tuple[Stack, int, int], ...] = ()

    def of(self, kind: str) -> tuple[Change, ...]:
        """The changes of one kind."""
        return tuple(change for change in self.changes if change.kind == kind)
