"""How memory stood at one moment, by every account that the kernel keeps; and what of it grew over many of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

LEAST_READINGS = 10  # of a series, before anything is said of its growth


@dataclass(frozen=True, slots=True)
class UsageSample:
    """One reading. `amounts` are bytes by account and holder; times are seconds, since the epoch and since boot."""

    boot: str
    at: float
    uptime_s: float
    ram_bytes: int
    available_bytes: int | None
    unaccounted_bytes: int | None
    amounts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Grower:
    """What grew steadily: `bytes_per_day` is the median slope; `rising` the share of steps (0..1) that rose.

    `by` is who allocates it, by another account that grew at the same pace. `full_in_s` is when available memory ends
    at this pace. `series` are (seconds since the epoch, bytes), the oldest first.
    """

    account: str
    holder: str
    now_bytes: int
    bytes_per_day: float
    over_s: float
    readings: int
    rising: float
    by: str | None
    full_in_s: float | None
    series: tuple[tuple[float, int], ...] = ()
