"""Holdings ranked: who may be named, and how much of RAM each is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from oomscope.attribution.facts import Facts
from oomscope.attribution.holdings import Details, ages_of, culprits
from oomscope.attribution.witness_comparison import pages_by_stack
from oomscope.model.batch import Column
from oomscope.model.counts import Ages
from oomscope.model.holding import BALLOON, KERNEL, LARGE_KMALLOC, SLAB, Holding
from oomscope.model.ranked import Consumer, CulpritRow, HeldSince, Recent
from oomscope.model.unknown import Unknown
from oomscope.numeric import np
from oomscope.verdict import growth

_SHOWN_OVER_TIME = 20  # culprits
_ROWS_AT_ONCE = 1 << 14


class Ranking:
    """Turns holdings of the latest moment into ranked consumers and culprits.

    Growth is told against an earlier moment, where there is one.
    """

    def __init__(self, facts: Facts) -> None:
        evidence, earlier = facts.evidence, facts.earlier
        self._counts = evidence.latest.counts
        self._page_size_bytes = _known(evidence.kernel.page_size_bytes)
        self._ram_pages = _known(evidence.ram_pages)
        self._captured_ns = _known(evidence.latest.at_ns)
        self._earlier_stacks = None if earlier is None else pages_by_stack(earlier.counts)
        self._earlier_culprits = facts.earlier_by_culprit
        self._apart_ns = facts.apart_ns
        self._told_culprits = facts.told_culprits
        self._details = Details(self._counts)
        self._has_times = bool(self._counts.stacks) and bool(self._counts.timed_pages.any())

    def consumers(self, held: Iterable[Holding]) -> tuple[Consumer, ...]:
        """Consumers in the order given; holdings without a number of pages are not among them."""
        counted = [(holding, holding.pages) for holding in held if holding.pages is not None]
        if not counted:
            return ()
        rows = [holding.row for holding, _ in counted]
        first_ns, last_ns = self._counts.first_ns[rows], self._counts.last_ns[rows]
        told, recents = list[str | None](), list[Recent | None]()
        spreads: list[tuple[int, int, int] | None] = []
        for some in _blocks(len(rows)):
            ages = self._counts.ages.pages[rows[some]] if self._has_times else None
            told += self._told(ages, first_ns[some])
            recents += self._recents(ages, len(rows[some]))
            spreads += (
                [None] * len(rows[some])
                if ages is None
                else growth.spreads(Ages(self._counts.ages.bin_ns, ages), first_ns[some], last_ns[some])
            )
        return tuple(
            Consumer(
                holding=holding,
                pages=pages,
                size_bytes=None if self._page_size_bytes is None else pages * self._page_size_bytes,
                share_of_ram=None if holding.kind == BALLOON else self._share(pages),
                growth=growth.one_dump(pattern, holding.first_ns, holding.last_ns)
                if self._earlier_stacks is None
                else growth.two_moments(pages, self._earlier_stacks.get(holding.stack, 0), self._apart_ns),
                spread_ns=spread_ns,
                recent=recent,
                detail=self._details.of(holding),
            )
            for (holding, pages), pattern, spread_ns, recent in zip(counted, told, spreads, recents, strict=True)
        )

    def culprits(self, held: Iterable[Holding]) -> tuple[CulpritRow, ...]:
        """Holdings rolled up over stacks, most pages first."""
        if self._counts.pages is None and not self._told_culprits:
            return ()
        rows = culprits(held, self._told_culprits)
        if not rows:
            return ()
        ages = ages_of(self._counts, rows) if self._has_times else None
        first_ns = np.array([row.first_ns or 0 for row in rows], np.int64)
        told, recents = list[str | None](), list[Recent | None]()
        for some in _blocks(len(rows)):
            told += self._told(None if ages is None else ages[some], first_ns[some])
            recents += self._recents(None if ages is None else ages[some], len(rows[some]))
        return tuple(
            CulpritRow(
                culprit=row.culprit,
                kinds=row.kinds,
                pages=row.pages,
                share_of_ram=None if row.kinds == (BALLOON,) else self._share(row.pages),
                stacks=row.stacks,
                growth=growth.one_dump(pattern, row.first_ns, row.last_ns)
                if self._earlier_culprits is None
                else growth.two_moments(row.pages, self._earlier_culprits.get(row.culprit, 0), self._apart_ns),
                recent=recent,
                held_since=HeldSince(self._counts.ages.bin_ns, tuple(ages[index].tolist()))
                if index < _SHOWN_OVER_TIME and row.first_ns is not None and ages is not None
                else None,
                earlier_pages=None if self._earlier_culprits is None else self._earlier_culprits.get(row.culprit, 0),
            )
            for index, (row, pattern, recent) in enumerate(zip(rows, told, recents, strict=True))
        )

    def _told(self, ages: Column | None, first_ns: Column) -> list[str | None]:
        """How each row of ages is spread over time."""
        if ages is None or self._captured_ns is None or not len(ages):
            return [None] * len(first_ns)
        return growth.patterns(Ages(self._counts.ages.bin_ns, ages), first_ns, self._captured_ns)

    def _recents(self, ages: Column | None, size: int) -> list[Recent] | list[None]:
        """What was allocated last of each row of ages; None where the evidence tells no times."""
        if ages is None or self._captured_ns is None or self._counts.newest_ns is None:
            return [None] * size
        return growth.recents(Ages(self._counts.ages.bin_ns, ages), self._captured_ns)

    def _share(self, pages: int) -> float | None:
        """Of RAM; None where more is counted than there is, which `inconsistent` tells."""
        return pages / self._ram_pages if self._ram_pages and pages <= self._ram_pages else None


def _blocks(size: int) -> Iterator[slice]:
    """Slices of some rows each: times take half a KiB a row, several times over while they are looked at."""
    return (slice(start, start + _ROWS_AT_ONCE) for start in range(0, size, _ROWS_AT_ONCE))


def may_be_named(holding: Holding) -> bool:
    """Early, dummy and failure stacks are page_owner's own: they are listed, never named."""
    return holding.label is None


def greatest(consumers: Iterable[Consumer]) -> Consumer | None:
    """The stack with most pages."""
    return next(iter(consumers), None)


def greatest_kernel(consumers: Iterable[Consumer]) -> Consumer | None:
    """The first among kernel, slab and large kmalloc."""
    return next((c for c in consumers if c.holding.kind in (KERNEL, SLAB, LARGE_KMALLOC)), None)


def _known(value: int | Unknown) -> int | None:
    return None if isinstance(value, Unknown) else value
