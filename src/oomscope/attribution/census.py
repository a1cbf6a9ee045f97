"""The uses of page frames added up, and what the balance says of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from oomscope.attribution.balance import without_given_back
from oomscope.attribution.culprit import attribute, name_of
from oomscope.model.balance import Balance, BalanceRow
from oomscope.model.census import (
    FREE,
    HUGETLB,
    KERNEL,
    NO_PART,
    PER_CPU_LISTS,
    RESERVED,
    SLAB,
    USES,
    Census,
    PageFrames,
)
from oomscope.model.holding import EARLY
from oomscope.model.stack import Stack
from oomscope.numeric import NO_ROWS, np

if TYPE_CHECKING:
    import numpy.typing as npt

_NO_OWNER = "(no owner on record)"


class CensusTally:
    """Adds up frames; `census` is None until some were seen."""

    def __init__(self) -> None:
        self._pages = NO_ROWS
        self._parts: dict[tuple[int, int], int] = {}
        self._slabs: dict[tuple[int, int], int] = {}
        self._stacks = NO_ROWS
        self._last: PageFrames | None = None
        self._has_owners = False
        self._unowned = 0
        self._free_owned: dict[tuple[int, int], int] = {}

    def add(self, frames: PageFrames) -> None:
        """Add some frames; all must share their tables and parts."""
        self._last = frames
        used = np.bincount(frames.use, minlength=len(USES))
        self._pages = self._pages + used if len(self._pages) else used
        named = frames.part != NO_PART
        _count_pairs(self._parts, frames.use[named].astype(np.int64), frames.part[named])
        if frames.stack is not None:
            self._has_owners = True
            free = (frames.use == FREE) | (frames.use == PER_CPU_LISTS)
            if frames.since_boot:
                unowned = (frames.stack < 0) & (frames.use > PER_CPU_LISTS) & (frames.use != HUGETLB)
                self._unowned += int(unowned.sum())
            owner = frames.stack[free]
            owner = owner[owner >= 0] + 1
            _count_pairs(self._free_owned, np.zeros(len(owner), np.int64), owner)
            slab = frames.use == SLAB
            _count_pairs(self._slabs, frames.part[slab].astype(np.int64), frames.stack[slab] + 1)
            # Index 0 counts the frames without an owner.
            counted = np.bincount(frames.stack[frames.use == KERNEL] + 1, minlength=len(self._stacks))
            counted[: len(self._stacks)] += self._stacks
            self._stacks = counted.astype(np.int64)

    def census(self, counters: Mapping[str, int]) -> Census | None:
        """The sums so far, beside the kernel's own counters."""
        if self._last is None:
            return None
        parts: dict[str, dict[str, int]] = {}
        for (use, part), pages in self._parts.items():
            parts.setdefault(USES[use], {})[self._last.parts.names[part]] = pages
        stacks: dict[Stack | None, int] | None = None
        names: list[Stack | None] = [None, *self._last.tables.stacks]
        if self._has_owners:
            stacks = {names[index]: pages for index, pages in enumerate(self._stacks.tolist()) if pages}
        slab_stacks: dict[str, dict[Stack | None, int]] = {}
        for (part, index), pages in self._slabs.items():
            slab_stacks.setdefault(self._last.parts.names[part], {})[names[index]] = pages
        free_owned = [(names[index], pages) for (_, index), pages in self._free_owned.items()]
        return Census(
            pages=dict(zip(USES, self._pages.tolist(), strict=True)),
            parts=parts,
            kernel_stacks=stacks,
            slab_stacks=slab_stacks,
            counters=counters,
            contradictions=sum(pages for stack, pages in free_owned if not _is_early(stack)),
            unowned_pages=self._unowned,
            free_early_pages=sum(pages for stack, pages in free_owned if _is_early(stack)),
        )


def _is_early(stack: Stack | None) -> bool:
    return stack is not None and attribute(stack).label == EARLY


def _count_pairs(
    sums: dict[tuple[int, int], int], first: npt.NDArray[np.int64], second: npt.NDArray[np.signedinteger]
) -> None:
    values, counts = np.unique(first << 32 | second, return_counts=True)
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        pair = (value >> 32, value & 0xFFFFFFFF)
        sums[pair] = sums.get(pair, 0) + count


def census_balance(census: Census, ram_pages: int) -> Balance:
    """Every page frame in one row, most pages first; reserved frames beside them, as they are no part of RAM."""
    rows = [
        BalanceRow(use, pages, _parts_of(census, use))
        for use, pages in census.pages.items()
        if pages and use != USES[RESERVED]
    ]
    rows.sort(key=lambda row: -row.pages)
    unexplained_pages = ram_pages - sum(row.pages for row in rows)
    return without_given_back(Balance(ram_pages, census.pages[USES[RESERVED]], tuple(rows), unexplained_pages))


def _parts_of(census: Census, use: str) -> tuple[tuple[str, int], ...]:
    """The named parts of a row, most pages first: caches, callers, and who allocated what no counter knows."""
    parts = dict(census.parts.get(use, {}))
    if use == USES[KERNEL] and census.kernel_stacks is not None:
        for stack, pages in census.kernel_stacks.items():
            name = _NO_OWNER if stack is None else name_of(stack)
            parts[name] = parts.get(name, 0) + pages
    return tuple(sorted(parts.items(), key=lambda part: (-part[1], part[0])))
