"""The table of owners that `oomscope arm --track` keeps, as rows: stack, time and pages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from oomscope.model import owners
from oomscope.model.absent import Absent
from oomscope.model.batch import Batch, Column, Tables
from oomscope.model.owners import PageOwners, Words
from oomscope.model.reading import Notes
from oomscope.model.stack import Frame, Stack
from oomscope.units import pages_text, uptime_text

FORMAT = "tracked pages"
FramesOf = Callable[[Iterable[int]], tuple[Frame, ...]]
_PAGES_PER_BATCH = 1 << 21
_WHY = {
    owners.LEFT_OUT: "user memory and page cache are left out: armed with --kernel-only",
    owners.TABLE_FULL: "their stacks are not known: the table of stacks was full",
    owners.NO_STACK: "their stacks could not be taken",
}


class OwnerRows:
    """Turns entries of the table into rows; `notes` are complete when all entries were seen."""

    def __init__(self, table: PageOwners, frames_of: FramesOf) -> None:
        self.notes = Notes(at_ns=table.at_ns, tracked_since_ns=table.since_ns)
        self.tables = Tables()
        self._table = table
        self._frames_of = frames_of
        self._stack_of: dict[int, int] = {}
        self._without_stack = dict.fromkeys(_WHY, 0)

    def batches(self) -> Iterator[Batch]:
        """All rows."""
        held: list[Words] = []
        pages = 0
        for block in self._table.blocks():
            held.append(block[block != 0])
            pages += len(held[-1])
            if pages >= _PAGES_PER_BATCH:
                yield self.rows(np.concatenate(held))
                held, pages = [], 0
        yield self.rows(np.concatenate([*held, np.zeros(0, np.uint32)]))
        self.finish()

    def rows(self, held: Words) -> Batch:
        """A row for each stack and time among some entries; 0 is none."""
        words, pages = np.unique(held[held != 0], return_counts=True)
        slot = words >> np.uint32(16)
        for special in _WHY:
            self._without_stack[special] += int(pages[slot == special].sum())
        stack = self._stacks(slot)
        named = stack >= 0
        self.notes.records += int(named.sum())
        times = self._table.allocated_ns(words[named] & np.uint32(0xFFFF))
        return Batch(self.tables, stack[named], pages=pages[named].astype(np.int64), allocated_ns=times)

    def stack_of_each(self, entries: Words) -> Column:
        """The stack of every entry, -1 where it has none."""
        return self._stacks(entries >> np.uint32(16))

    def finish(self) -> None:
        """Say what has no stack."""
        counted = self._table.counters
        told = [
            Absent(f"{pages_text(pages)} allocated since", _WHY[slot])
            for slot, pages in self._without_stack.items()
            if pages
        ]
        if counted.untracked_pages:
            reason = "their page frames are not in the table: memory that was added later"
            told.append(Absent(f"{pages_text(counted.untracked_pages)} allocated since", reason))
        since = f"tracking began {uptime_text(self._table.since_ns)} after boot"
        self.notes.absent = (Absent("who allocated earlier pages", since), *told)

    def _stacks(self, slot: Words) -> Column:
        slots, inverse = np.unique(slot, return_inverse=True)
        return np.array([self._stack_index(each) for each in slots.tolist()], np.int64)[inverse]

    def _stack_index(self, slot: int) -> int:
        if slot not in self._stack_of:
            index = -1
            if owners.FIRST_SLOT <= slot < len(self._table.stacks):
                record = self._table.stacks[slot]
                frames = min(int(record["frames"]), owners.FRAMES)
                if frames:
                    index = len(self.tables.stacks)
                    self.tables.stacks.append(Stack(self._frames_of(record["frame"][:frames].tolist())))
            self._stack_of[slot] = index
        return self._stack_of[slot]
