"""One screen of `oomscope top`: who holds memory now, and how that has changed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SnapshotRow:
    """One holder: `amount` now, its `change` since the watch began, its `per_s` since the reading before.

    In the snapshot's unit. `share_of_ram` is 0..1, None where RAM is not known; `age_s` is how long what it holds has
    been held on average, None where the account does not tell.
    """

    name: str
    amount: int
    change: int
    per_s: float
    share_of_ram: float | None
    age_s: float | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All holders, sorted; `source` is what was read, `since_s` how long the watch lasts, `took_s` what a reading took.

    `unit` is pages or bytes; `total` and `total_change` are of all rows.
    """

    source: str
    unit: str
    group_by: str
    sort: str
    since_s: float
    took_s: float
    total: int
    total_change: int
    rows: tuple[SnapshotRow, ...]
