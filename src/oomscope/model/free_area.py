"""Free memory by block size: what a request for several pages in one block can find."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FreeArea:
    """Free blocks of a zone, `counts` by order from 0 on; of one migrate type, or of all (None)."""

    node: int
    zone: str
    migrate_type: str | None
    counts: tuple[int, ...]

    @property
    def pages(self) -> int:
        """All that is free here, in base pages."""
        return self.pages_from(0)

    def pages_from(self, order: int) -> int:
        """What of it lies in blocks of an order and larger ones."""
        return sum(count << each for each, count in enumerate(self.counts) if each >= order)

    @property
    def largest_order(self) -> int | None:
        """The order of the largest free block; None where nothing is free."""
        return max((order for order, count in enumerate(self.counts) if count), default=None)
