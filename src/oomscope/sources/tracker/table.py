"""The table of owners that `oomscope arm --track` keeps, as rows: stack, time and pages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from oomscope.model.batch import Batch, Column, Tables
from oomscope.model.reading import Notes
from oomscope.model.stack import Frame, Stack
from oomscope.model.unknown import Unknown
from oomscope.numeric import np
from oomscope.sources.tracker import layout
from oomscope.sources.tracker.layout import PageOwners, Words
from oomscope.sources.tracker.tracing_frames import is_tracing
from oomscope.units import pages_text, uptime_text

FORMAT = "tracked pages"
FramesOf = Callable[[list[int]], Iterable[Frame | None]]  # a frame for each address, None for what is none
_PAGES_PER_BATCH = 1 << 21
_WHY = {
    layout.LEFT_OUT: "user memory and page cache are left out: armed with --kernel-only",
    layout.TABLE_FULL: "their stacks are not known: the table of stacks was full",
    layout.NO_STACK: "their stacks could not be taken",
}


class OwnerRows:
    """Turns entries of the table into rows; `notes` are complete when all entries were seen."""

    def __init__(self, table: PageOwners, frames_of: FramesOf) -> None:
        self.notes = Notes(at_ns=table.at_ns, tracked_since_ns=table.since_ns, missed_frees=table.missed_frees)
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
        self.notes.stats.records += int(named.sum())
        times = self._table.allocated_ns(words[named] & np.uint32(0xFFFF))
        return Batch(self.tables, stack[named], pages=pages[named].astype(np.int64), allocated_ns=times)

    def stack_of_each(self, entries: Words) -> Column:
        """The stack of every entry, -1 where it has none."""
        return self._stacks(entries >> np.uint32(16))

    def finish(self) -> None:
        """Say what has no stack."""
        counted = self._table.counters
        told = [
            Unknown(f"{pages_text(pages)} allocated since", _WHY[slot])
            for slot, pages in self._without_stack.items()
            if pages
        ]
        if counted.untracked_pages:
            what = f"who allocated in memory that was added later, {counted.untracked_pages:,} times a page"
            told.append(Unknown(what, "its page frames are not in the table"))
        begin_in_tracing = sum(is_tracing(stack.frames[0].text) for stack in self.tables.stacks)
        if begin_in_tracing:
            what = f"the outermost callers of {begin_in_tracing:,} of {len(self.tables.stacks):,} tracked stacks"
            told.append(Unknown(what, "these begin in the tracing itself, which takes the room of as many frames"))
        since = f"tracking began {uptime_text(self._table.since_ns)} after boot"
        self.notes.absent = (Unknown("who allocated earlier pages", since), *told)

    def _stacks(self, slot: Words) -> Column:
        slots, inverse = np.unique(slot, return_inverse=True)
        self._take_stacks([each for each in slots.tolist() if each not in self._stack_of])
        return np.array([self._stack_of[each] for each in slots.tolist()], np.int64)[inverse]

    def _take_stacks(self, slots: list[int]) -> None:
        """The stacks of slots not met before; every address is named once."""
        self._stack_of |= dict.fromkeys(slots, -1)
        there = [slot for slot in slots if layout.FIRST_SLOT <= slot < len(self._table.stacks)]
        records = self._table.stacks[there]
        depths = records["frames"].clip(0, layout.FRAMES).tolist()
        addresses = [frame[:depth] for frame, depth in zip(records["frame"].tolist(), depths, strict=True)]
        distinct = sorted({address for stack in addresses for address in stack})
        frames = dict(zip(distinct, self._frames_of(distinct), strict=True))
        for slot, stack in zip(there, addresses, strict=True):
            if stack:
                self._stack_of[slot] = len(self.tables.stacks)
                named = (frames[address] for address in stack)
                self.tables.stacks.append(Stack(tuple(frame for frame in named if frame is not None)))
