"""Who holds memory, ranked: single stacks, and culprits over all their stacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oomscope.units import share_text, size_text

if TYPE_CHECKING:
    from oomscope.model.holding import Culprit, Holding, HoldingDetail


@dataclass(frozen=True, slots=True)
class Recent:
    """`pages` that were allocated in the last `interval_ns` before the evidence was taken, and are still held."""

    interval_ns: int
    pages: int

    @property
    def pages_per_s(self) -> float:
        """The rate over the interval."""
        return self.pages * 1e9 / self.interval_ns if self.interval_ns else 0.0


@dataclass(frozen=True, slots=True)
class HeldSince:
    """Pages still held by when they were allocated: `pages[i]` in [i, i + 1) * `bin_ns` since boot."""

    bin_ns: int
    pages: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Consumer:
    """A ranked holding. `bytes` and `share_of_ram` (0..1) are None where page size or RAM is not known.

    `growth` is one clause on what its allocation times, or an earlier moment, tell. `spread_ns` are the times by which
    5, 50 and 95 of 100 of its pages had been allocated, to the width of a bin (a 64th to a 32nd of the uptime).
    """

    holding: Holding
    pages: int
    size_bytes: int | None
    share_of_ram: float | None
    growth: str | None
    spread_ns: tuple[int, int, int] | None
    recent: Recent | None
    detail: HoldingDetail | None

    @property
    def amount(self) -> str:
        """Pages, bytes and the share of RAM, as far as they are known."""
        page_bytes = None if self.size_bytes is None or not self.pages else self.size_bytes // self.pages
        text = size_text(self.pages, page_bytes)
        return text if self.share_of_ram is None else f"{text}, {share_text(self.share_of_ram)} of RAM"


@dataclass(frozen=True, slots=True)
class CulpritRow:
    """A culprit's holdings over all its stacks.

    `held_since` is told of the greatest ones, where times are known; `earlier_pages` are what it held at the moment
    before, None where there is none.
    """

    culprit: Culprit
    kinds: tuple[str, ...]
    pages: int
    share_of_ram: float | None
    stacks: int
    growth: str | None
    recent: Recent | None
    held_since: HeldSince | None = None
    earlier_pages: int | None = None
