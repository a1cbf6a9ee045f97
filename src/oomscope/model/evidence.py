"""All that was read about one machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oomscope.model.counts import Counts
    from oomscope.model.kernel import Kernel
    from oomscope.model.oom_analysis import OomAnalysis
    from oomscope.model.reading import Meminfo, PanicTotals, Reading
    from oomscope.model.unknown import Unknown


@dataclass(frozen=True, slots=True)
class Moment:
    """One view of the machine: the sums of one reading, and the readings that count the same pages.

    `at_ns` is nanoseconds since boot: the newest allocation that a dump holds, or the log's time stamp. A witness is
    never added to `counts`.
    """

    reading: Reading
    counts: Counts
    at_ns: int | Unknown
    witnesses: tuple[Reading, ...] = ()

    @property
    def is_panic_report(self) -> bool:
        """Whether this is what a dying kernel printed: its greatest consumers only."""
        return self.reading.notes.log.reports > 0

    @property
    def totals(self) -> PanicTotals | None:
        """The totals that a dying kernel printed beside its greatest consumers."""
        return self.reading.notes.log.totals


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An OOM event and the input that tells of it."""

    origin: str
    analysis: OomAnalysis


@dataclass(frozen=True, slots=True)
class Evidence:
    """One machine: its kernel, its RAM, and what was seen of it, the oldest moment first.

    `ram_pages` are the managed pages (MemTotal). `free_pages` were free about when the latest moment was taken.
    `events` are the OOM events that its logs tell of, in their order in time. `absent` says what is missing; `unused`
    are inputs that took no part, with the reason.
    """

    kernel: Kernel
    ram_pages: int | Unknown
    free_pages: int | Unknown
    moments: tuple[Moment, ...]
    readings: tuple[Reading, ...]
    meminfo: Meminfo | None
    events: tuple[LoggedEvent, ...]
    absent: tuple[Unknown, ...]
    unused: tuple[Unknown, ...]

    @property
    def latest(self) -> Moment:
        """The moment that is explained."""
        return self.moments[-1]
