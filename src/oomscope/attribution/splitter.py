"""Sums over pairs of a stack and another value (a task, an order, a node): what the tally keeps of each."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from oomscope.model.batch import Column
from oomscope.model.counts import Split
from oomscope.numeric import NO_ROWS, np

if TYPE_CHECKING:
    import numpy.typing as npt

Value = TypeVar("Value", bound=Hashable)
Mask: TypeAlias = "npt.NDArray[np.bool_]"
_DENSE_CELLS = 1 << 18
ROWS_PER_FLUSH = 1 << 16
_PAIRS_KEPT = 1 << 17
_LARGEST_PER_STACK = 32
NEVER_NS = (1 << 63) - 1
_EXACT_DOUBLES = 1 << 53


class Measures:
    """The columns that a Splitter adds up beside a value."""

    __slots__ = ("allocated_ns", "blocks", "pages", "stack")

    def __init__(self, stack: Column, pages: Column, blocks: Column, allocated_ns: Column | None) -> None:
        self.stack = stack
        self.pages = pages
        self.blocks = blocks
        self.allocated_ns = allocated_ns


class Splitter(Generic[Value]):
    """Adds up one property: exact sums per value, and per (stack, value) while the pairs are few enough."""

    def __init__(self, keeps: Callable[[Value], bool]) -> None:
        self._keeps = keeps
        self._ids: dict[Value, int] = {}
        self._pages = zeros(0)
        self._blocks = zeros(0)
        self._timed_blocks = zeros(0)
        self._first_ns = zeros(0)
        self._last_ns = zeros(0)
        self._runs: list[tuple[Column, Column, Column]] = []
        self._settled_rows = 0
        self._pruned = False

    def join(self, known: Column, kept: Mask, table: list[Value]) -> tuple[Column, Mask]:
        """Extend the map from a table's indices to ours by what the table has grown by."""
        new = table[len(known) :]
        if not new:
            return known, kept
        ids = np.array([self._ids.setdefault(value, len(self._ids)) for value in new], np.int64)
        keep = np.array([self._keeps(value) for value in new], np.bool_)
        return np.append(known, ids), np.append(kept, keep)

    def add(self, value: Column, measures: Measures, stacks: int) -> None:
        """Add rows: `value` are our indices."""
        self._grow()
        size = len(self._ids)
        self._pages += sums(value, measures.pages, size)
        self._blocks += sums(value, measures.blocks, size)
        if measures.allocated_ns is not None:
            self._timed_blocks += sums(value, measures.blocks, size)
            np.minimum.at(self._first_ns, value, measures.allocated_ns)
            np.maximum.at(self._last_ns, value, measures.allocated_ns)
        if stacks * size <= _DENSE_CELLS:
            cell = measures.stack * size + value
            pages = sums(cell, measures.pages, stacks * size)
            blocks = sums(cell, measures.blocks, stacks * size)
            used = np.flatnonzero(blocks | pages)
            key = (used // size) << 32 | used % size
            self._add_run((key, pages[used], blocks[used]))
        else:
            key = measures.stack << 32 | value
            self._add_run(reduced(key, measures.pages, measures.blocks))

    def absorb(self, split: Split[Value], stack_at: Column) -> None:
        """Add another splitter's sums; `stack_at` maps its stacks to ours."""
        value_at, _ = self.join(np.zeros(0, np.int64), np.zeros(0, np.bool_), list(split.values))
        self._grow()
        np.add.at(self._pages, value_at, split.pages)
        np.add.at(self._blocks, value_at, split.blocks)
        np.add.at(self._timed_blocks, value_at, split.timed_blocks)
        np.minimum.at(self._first_ns, value_at, split.first_ns)
        np.maximum.at(self._last_ns, value_at, split.last_ns)
        self._pruned |= split.pruned
        key = stack_at[split.pair_stack] << 32 | value_at[split.pair_value]
        self._add_run(reduced(key, split.pair_pages, split.pair_blocks))

    def split(self) -> Split[Value]:
        """The sums so far."""
        self._grow()
        key, pages, blocks = self._settled()
        value = key & 0xFFFFFFFF
        return Split(
            values=tuple(self._ids),
            pages=self._pages.copy(),
            blocks=self._blocks.copy(),
            stacks=np.bincount(value, minlength=len(self._ids)).astype(np.int64),
            timed_blocks=self._timed_blocks.copy(),
            first_ns=self._first_ns.copy(),
            last_ns=self._last_ns.copy(),
            pair_stack=key >> 32,
            pair_value=value,
            pair_pages=pages,
            pair_blocks=blocks,
            pruned=self._pruned,
        )

    def _add_run(self, run: tuple[Column, Column, Column]) -> None:
        self._runs.append(run)
        if sum(len(key) for key, _, _ in self._runs) > max(2 * self._settled_rows, 2 * ROWS_PER_FLUSH):
            self._settled()

    def _settled(self) -> tuple[Column, Column, Column]:
        """One run of distinct keys in order, cut to the largest values per stack if there are too many."""
        key, pages, blocks = (np.concatenate([run[column] for run in self._runs] or [zeros(0)]) for column in range(3))
        key, pages, blocks = reduced(key, pages, blocks)
        if len(key) > _PAIRS_KEPT:
            self._pruned = True
            by_size = np.lexsort((-pages, key >> 32))
            stack = (key >> 32)[by_size]
            starts = np.flatnonzero(np.diff(stack, prepend=-1))
            rank = np.arange(len(stack)) - np.repeat(starts, np.diff(np.append(starts, len(stack))))
            keep = np.sort(by_size[rank < _LARGEST_PER_STACK])
            key, pages, blocks = key[keep], pages[keep], blocks[keep]
        self._runs = [(key, pages, blocks)]
        self._settled_rows = len(key)
        return key, pages, blocks

    def _grow(self) -> None:
        size = len(self._ids)
        self._pages = grown(self._pages, size)
        self._blocks = grown(self._blocks, size)
        self._timed_blocks = grown(self._timed_blocks, size)
        self._first_ns = grown(self._first_ns, size, NEVER_NS)
        self._last_ns = grown(self._last_ns, size)


def zeros(size: int) -> Column:
    """A column of so many zeros."""
    return np.zeros(size, np.int64) if size else NO_ROWS


def grown(column: Column, size: int, fill: int = 0) -> Column:
    """The column with room for `size` values, `fill` in the new places."""
    if len(column) == size and size:
        return column
    return np.concatenate((column, np.full(size - len(column), fill, np.int64)))


def reduced(key: Column, pages: Column, blocks: Column) -> tuple[Column, Column, Column]:
    """Distinct keys in order, with the sums of their pages and blocks."""
    if not len(key):
        return key, pages, blocks
    order = np.argsort(key)
    key = key[order]
    starts = np.flatnonzero(np.diff(key, prepend=key[0] - 1))
    return key[starts], np.add.reduceat(pages[order], starts), np.add.reduceat(blocks[order], starts)


def sums(index: Column, values: Column, size: int) -> Column:
    """Sum of `values` per index. bincount adds doubles, which are exact up to 2^53: beyond, whole numbers are added."""
    if len(values) and int(values.max()) * len(values) >= _EXACT_DOUBLES:
        sums = zeros(size)
        np.add.at(sums, index, values)
        return sums
    return np.bincount(index, weights=values, minlength=size).astype(np.int64)


def add_known(sums: Column, at: Column, values: Column | None) -> None:
    """Add values at their places; none where they are not known."""
    if values is not None:
        np.add.at(sums, at, values)
