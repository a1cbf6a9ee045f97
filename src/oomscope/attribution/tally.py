"""The only adder: rows in, Counts out."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cache
from typing import Any, TypeVar

from oomscope.attribution.selection import Selection
from oomscope.attribution.splitter import NEVER_NS, ROWS_PER_FLUSH, Measures, Splitter, add_known, grown, sums, zeros
from oomscope.model.batch import OPTIONAL_COLUMNS, Batch, Column, Mask, Place, Request, Tables, Task
from oomscope.model.counts import Ages, Counts, Split
from oomscope.model.stack import Stack
from oomscope.numeric import NO_ROWS, np

Value = TypeVar("Value", bound=Hashable)

AGE_BINS = 64
_FIRST_BIN_NS = 1 << 20
_STACKS_AT_ONCE = 1 << 12  # up to so many, adding to the ages of all is faster than to those of each row


_NO_SPLIT: Split[Any] = Split((), *(NO_ROWS,) * 10, pruned=False)


class Tally:
    """Adds batches up, whatever kind of evidence they come from.

    Rows that `selection` does not ask for are left out before they are counted. Memory grows with the number of
    distinct stacks and tasks, not with the number of rows: beyond 131,072 (stack, value) pairs each stack
    keeps its largest values only, and the Split says so.
    """

    def __init__(self, selection: Selection | None = None) -> None:
        self._selection = selection or Selection()
        self._stacks: dict[Stack, int] = {}
        self._requests = Splitter[Request](self._selection.keeps_request)
        self._tasks = Splitter[Task](self._selection.keeps_task)
        self._places = Splitter[Place](self._selection.keeps_place)
        self._memcgs = Splitter[str | None](lambda _: True)
        self._join: _Join | None = None
        self._pending: list[Batch] = []
        self._pending_rows = 0
        self._pages = zeros(0)
        self._blocks = zeros(0)
        self._timed_pages = zeros(0)
        self._first_ns = zeros(0)
        self._last_ns = zeros(0)
        self._bin_ns = _FIRST_BIN_NS
        self._ages: Column | None = None  # 512 bytes a stack: from the first time stamp on
        self._counts_pages = True
        self._counts_blocks = True
        self._rows = 0
        self._untold_rows_left_out = 0
        self._newest_ns = -1

    def add(self, batch: Batch) -> None:
        """Add the rows of a batch; it is kept by reference until enough rows have come together."""
        self._pending.append(batch)
        self._pending_rows += len(batch.stack)
        if self._pending_rows >= ROWS_PER_FLUSH:
            self._flush()

    def absorb(self, counts: Counts, resolve: Callable[[Stack], Stack] = lambda stack: stack) -> None:
        """Add another tally's Counts; `resolve` may name a stack better than its reading could."""
        self._flush()
        self._rows += counts.rows
        self._untold_rows_left_out += counts.untold_rows_left_out
        if counts.newest_ns is not None:
            self._newest_ns = max(self._newest_ns, counts.newest_ns)
        self._counts_pages &= counts.pages is not None
        self._counts_blocks &= counts.blocks is not None
        if not counts.stacks:
            return
        stack_at = np.array([self._stack_id(resolve(stack)) for stack in counts.stacks], np.int64)
        self._grow()
        add_known(self._pages, stack_at, counts.pages)
        add_known(self._blocks, stack_at, counts.blocks)
        np.add.at(self._timed_pages, stack_at, counts.timed_pages)
        timed = counts.timed_pages > 0
        if timed.any():
            np.minimum.at(self._first_ns, stack_at[timed], counts.first_ns[timed])
            np.maximum.at(self._last_ns, stack_at[timed], counts.last_ns[timed])
            ages = counts.ages.pages
            while self._bin_ns < counts.ages.bin_ns:
                self._fold_ages()
            for _ in range((self._bin_ns // counts.ages.bin_ns).bit_length() - 1):
                ages = _folded(ages)
            np.add.at(self._ages_of_all(), stack_at, ages)
        self._requests.absorb(counts.requests, stack_at)
        self._tasks.absorb(counts.tasks, stack_at)
        self._places.absorb(counts.places, stack_at)
        self._memcgs.absorb(counts.memcgs, stack_at)

    def counts(self) -> Counts:
        """The sums so far."""
        self._flush()
        if not self._stacks:
            return self._counts_of_nothing()
        return Counts(
            stacks=tuple(self._stacks),
            pages=self._pages.copy() if self._counts_pages else None,
            blocks=self._blocks.copy() if self._counts_blocks else None,
            timed_pages=self._timed_pages.copy(),
            first_ns=self._first_ns.copy(),
            last_ns=self._last_ns.copy(),
            ages=Ages(
                self._bin_ns, self._ages_of_all().copy() if self._timed_pages.any() else _no_ages(len(self._stacks))
            ),
            requests=self._requests.split(),
            tasks=self._tasks.split(),
            places=self._places.split(),
            memcgs=self._memcgs.split(),
            rows=self._rows,
            untold_rows_left_out=self._untold_rows_left_out,
            newest_ns=self._newest_ns if self._newest_ns >= 0 else None,
        )

    def _counts_of_nothing(self) -> Counts:
        """Where no row is asked for, or there is none, as in most logs: NumPy is not needed for it."""
        return Counts(
            stacks=(),
            pages=NO_ROWS if self._counts_pages else None,
            blocks=NO_ROWS if self._counts_blocks else None,
            timed_pages=NO_ROWS,
            first_ns=NO_ROWS,
            last_ns=NO_ROWS,
            ages=Ages(self._bin_ns, NO_ROWS),
            requests=_NO_SPLIT,
            tasks=_NO_SPLIT,
            places=_NO_SPLIT,
            memcgs=_NO_SPLIT,
            rows=self._rows,
            untold_rows_left_out=self._untold_rows_left_out,
            newest_ns=self._newest_ns if self._newest_ns >= 0 else None,
        )

    def _stack_id(self, stack: Stack) -> int:
        return self._stacks.setdefault(stack, len(self._stacks))

    def _flush(self) -> None:
        pending, self._pending, self._pending_rows = self._pending, [], 0
        for rows in _runs_of_one_form(pending):
            self._add_rows(rows)

    def _add_rows(self, rows: Batch) -> None:
        if rows.allocated_ns is not None and len(rows.allocated_ns):
            self._newest_ns = max(self._newest_ns, int(rows.allocated_ns.max()))
        if self._selection.asks_beyond(rows):
            self._untold_rows_left_out += len(rows.stack)
            return
        join = self._join
        if join is None or rows.tables is not join.tables:
            join = self._join = _Join(rows.tables)
        join.extend(self)
        keep = join.keep_stack[rows.stack]
        if rows.request is not None:
            keep &= join.keep_request[rows.request]
        if rows.task is not None:
            keep &= join.keep_task[rows.task]
        if rows.place is not None:
            keep &= join.keep_place[rows.place]
        if rows.allocated_ns is not None and self._selection.bounds_time:
            keep &= self._within_time(rows.allocated_ns)
        rows = rows if keep.all() else rows.kept(keep)
        self._grow()
        self._rows += len(rows.stack)
        stack = join.stack[rows.stack]
        size = len(self._stacks)
        self._counts_pages &= rows.pages is not None
        self._counts_blocks &= rows.blocks is not None
        pages = zeros(len(stack)) if rows.pages is None else rows.pages
        blocks = zeros(len(stack)) if rows.blocks is None else rows.blocks
        self._pages += sums(stack, pages, size)
        self._blocks += sums(stack, blocks, size)
        if rows.allocated_ns is not None:
            self._add_times(stack, pages, rows.allocated_ns)
        measures = Measures(stack, pages, blocks, rows.allocated_ns)
        if rows.request is not None:
            self._requests.add(join.request[rows.request], measures, size)
        if rows.task is not None:
            self._tasks.add(join.task[rows.task], measures, size)
        if rows.place is not None:
            self._places.add(join.place[rows.place], measures, size)
        if rows.memcg is not None:
            self._memcgs.add(join.memcg[rows.memcg], measures, size)

    def _within_time(self, allocated_ns: Column) -> Mask:
        since_ns = 0 if self._selection.since_ns is None else self._selection.since_ns
        until_ns = NEVER_NS if self._selection.until_ns is None else self._selection.until_ns
        within: Mask = (allocated_ns >= since_ns) & (allocated_ns <= until_ns)
        return within

    def _add_times(self, stack: Column, pages: Column, allocated_ns: Column) -> None:
        if not len(stack):
            return
        size = len(self._stacks)
        self._timed_pages += sums(stack, pages, size)
        np.minimum.at(self._first_ns, stack, allocated_ns)
        np.maximum.at(self._last_ns, stack, allocated_ns)
        newest_ns = int(allocated_ns.max())
        while newest_ns // self._bin_ns >= AGE_BINS:
            self._fold_ages()
        cell = stack * AGE_BINS + allocated_ns // self._bin_ns
        ages = self._ages_of_all()
        if size > _STACKS_AT_ONCE:
            np.add.at(ages.reshape(-1), cell, pages)
        else:
            ages += sums(cell, pages, size * AGE_BINS).reshape(size, AGE_BINS)

    def _fold_ages(self) -> None:
        self._bin_ns *= 2
        self._ages = None if self._ages is None else _folded(self._ages)

    def _ages_of_all(self) -> Column:
        """The ages of every stack; room for half as many again where more have come."""
        size = len(self._stacks)
        if self._ages is None:
            self._ages = np.zeros((size, AGE_BINS), np.int64)
        elif len(self._ages) < size:
            grown = np.zeros((max(size, len(self._ages) * 3 // 2), AGE_BINS), np.int64)
            grown[: len(self._ages)] = self._ages
            self._ages = grown
        return self._ages[:size]

    def _grow(self) -> None:
        size = len(self._stacks)
        self._pages = grown(self._pages, size)
        self._blocks = grown(self._blocks, size)
        self._timed_pages = grown(self._timed_pages, size)
        self._first_ns = grown(self._first_ns, size, NEVER_NS)
        self._last_ns = grown(self._last_ns, size)


@cache
def no_counts() -> Counts:
    """The sums over nothing."""
    return Tally().counts()


class _Join:
    """From the indices of one reading's tables to the tally's own, and whether each value is asked for.

    It knows nothing of the tally, which has it: a circle of the two would outlive every reading of `top`.
    """

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.stack = self.request = self.task = self.place = self.memcg = np.zeros(0, np.int64)
        nothing: Mask = np.zeros(0, np.bool_)
        self.keep_stack = self.keep_request = self.keep_task = self.keep_place = nothing

    def extend(self, tally: Tally) -> None:
        """Take in what the tables have grown by."""
        tables, selection = self.tables, tally._selection
        new_stacks = tables.stacks[len(self.stack) :]
        if new_stacks:
            kept = [selection.keeps_stack(stack) for stack in new_stacks]
            # A stack that is left out gets no row of its own: any index will do, no row of it is ever added.
            ids = [tally._stack_id(s) if keep else 0 for s, keep in zip(new_stacks, kept, strict=True)]
            self.stack = np.append(self.stack, np.array(ids, np.int64))
            self.keep_stack = np.append(self.keep_stack, np.array(kept, np.bool_))
        self.request, self.keep_request = tally._requests.join(self.request, self.keep_request, tables.requests)
        self.task, self.keep_task = tally._tasks.join(self.task, self.keep_task, tables.tasks)
        self.place, self.keep_place = tally._places.join(self.place, self.keep_place, tables.places)
        self.memcg, _ = tally._memcgs.join(self.memcg, np.zeros(len(self.memcg), np.bool_), tables.memcgs)


def _no_ages(size: int) -> Column:
    """Ages of stacks without times, which take no memory: one row that stands for all."""
    return np.broadcast_to(np.zeros(AGE_BINS, np.int64), (size, AGE_BINS))


def _folded(ages: Column) -> Column:
    """Two neighbouring bins become one; the upper half is free again."""
    folded = np.zeros_like(ages)
    folded[:, : AGE_BINS // 2] = ages[:, 0::2] + ages[:, 1::2]
    return folded


def _runs_of_one_form(batches: list[Batch]) -> list[Batch]:
    """Batches that share tables and have the same columns, joined into one each."""
    runs: dict[tuple[object, ...], list[Batch]] = {}
    for batch in batches:
        form = (id(batch.tables), *(getattr(batch, name) is None for name in OPTIONAL_COLUMNS))
        runs.setdefault(form, []).append(batch)
    return [_concatenated(run) for run in runs.values()]


def _concatenated(run: list[Batch]) -> Batch:
    if len(run) == 1:
        return run[0]
    columns = {
        name: None if getattr(run[0], name) is None else np.concatenate([getattr(b, name) for b in run])
        for name in OPTIONAL_COLUMNS
    }
    return Batch(tables=run[0].tables, stack=np.concatenate([b.stack for b in run]), **columns)
