"""One dump read: who allocated its pages, what each page frame is used for, and what else counts the same pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import drgn
import numpy as np
import numpy.typing as npt

from oomscope.errors import CorruptInput
from oomscope.model.batch import Batch, Column, Request, Tables, Task
from oomscope.model.census import PageFrames
from oomscope.model.reading import Notes
from oomscope.model.unknown import Unknown
from oomscope.sources.log_facts import last_stamp_ns
from oomscope.sources.tracker.layout import PageOwners
from oomscope.sources.tracker.reports import rows_of
from oomscope.sources.tracker.table import OwnerRows
from oomscope.sources.vmcore import page_owner
from oomscope.sources.vmcore.bpf_code import bpf_code
from oomscope.sources.vmcore.bpf_maps import page_owners
from oomscope.sources.vmcore.gfp_names import GfpNames
from oomscope.sources.vmcore.modules import modules
from oomscope.sources.vmcore.page_frames import PageFrameUses
from oomscope.sources.vmcore.page_owner import OwnerEntries, PageOwner
from oomscope.sources.vmcore.panic_reports import panic_reports
from oomscope.sources.vmcore.sections import Section, sections
from oomscope.sources.vmcore.slab_objects import SlabOwners
from oomscope.sources.vmcore.stack_depot import StackDepot
from oomscope.sources.vmcore.stack_list import listed_handles
from oomscope.sources.vmcore.symbolize import Symbolizer
from oomscope.sources.vmcore.system import kernel_log, system
from oomscope.sources.vmcore.zone_index import ZoneIndex
from oomscope.text import printable

if TYPE_CHECKING:
    from oomscope.sources.vmcore.dump import Dump

PagesDone = Callable[[int, int], None]
_ODD = np.uint64(0x9E3779B97F4A7C15)  # spreads bits over the word (the golden ratio)


class Reader:
    """Reads one open dump, once. `notes` is complete when `batches` is exhausted; `log` is the kernel's."""

    def __init__(self, dump: Dump, origin: str) -> None:
        self._dump = dump
        loaded = list(modules(dump))
        dump.symbols.add_modules(loaded)
        dump.symbols.add_modules(bpf_code(dump))
        self.log = kernel_log(dump)
        self.notes = Notes(
            release=dump.vmcoreinfo.get("OSRELEASE"),
            at_ns=last_stamp_ns(self.log),
            system=system(dump, loaded, self.log),
        )
        self.notes.log.panicked = self.notes.system is not None and self.notes.system.panic_message is not None
        self._sections = self._page_frames(origin)
        self._tables = Tables()
        self._names = Symbolizer(dump)
        self._stack_of: dict[int, int] = {}
        self._request_of: dict[int, int] = {}
        self._task_of: dict[tuple[int, int, bytes], int] = {}
        self._gfp = GfpNames(dump)
        self._places = ZoneIndex(dump, self._tables)
        self._owner, self._depot = self._page_owner()
        self._tracked = self._tracking()

    @property
    def has_page_owner(self) -> bool:
        """Whether the dump tells who allocated pages."""
        return self._owner is not None or self._tracked is not None

    def batches(self, *, ranking_only: bool = False, progress: PagesDone | None = None) -> Iterator[Batch | PageFrames]:
        """Rows of page_owner and the uses of page frames, section by section; with `ranking_only` stacks alone."""
        if not self._sections:
            if self._tracked is not None:
                yield from self._tracked[0].batches()
                self._take_notes(self._tracked[0])
            return
        uses = None if ranking_only and self.has_page_owner else PageFrameUses(self._dump, self._sections)
        done, total = 0, sum(section.pages for section in self._sections)
        for section in self._sections:
            entries = None
            if self._owner is not None:
                entries = self._owner.entries(section, ranking_only=ranking_only)
            owned: Column | None = None
            if entries is not None:
                stack, owned = self._stacks(entries)
                self.notes.stats.records += len(stack)
                self.notes.stats.corrupt_records += entries.spoilt + self._unknown(stack)
                yield self._batch(section, entries, stack, ranking_only=ranking_only)
            if self._tracked is not None:
                rows, table = self._tracked
                tracked = table.entries(section.start_pfn, section.pages)
                yield rows.rows(tracked)
                owned = rows.stack_of_each(tracked)
            if uses is not None:
                use, part = uses.of(section)
                if owned is None and self._owner is not None:
                    owned = np.full(section.pages, -1, np.int64)
                tables = self._tables if self._tracked is None else self._tracked[0].tables
                yield PageFrames(tables, uses.parts, use, part, owned, since_boot=self._tracked is None)
            done += section.pages
            if progress is not None:
                progress(done, total)
        if self._tracked is not None:
            self._take_notes(self._tracked[0])
        if uses is not None:
            self.notes.accounts.cache_objects = tuple(SlabOwners(self._dump, self._names, self._depot).of(uses.slabs))
        if self._dump.unread_bytes:
            self.notes.stats.unread_share = self._dump.unread_bytes / self._dump.asked_bytes

    def finish(self) -> None:
        """Take what turned out to be unreadable, in all that was asked, into the notes."""
        self.notes.absent += tuple(dict.fromkeys(self._dump.damage))

    def counted_by_depot(self) -> Batch | None:
        """page_owner's own count per stack (6.9 and later), of every stack; None where there is none."""
        if self._depot is None or not self._depot.counts_pages:
            return None
        return self._counted(self._depot.pages_counted())

    def counted_by_list(self) -> Batch | None:
        """The same of the stacks in stack_list alone, which is what the kernel's show_stacks prints.

        None where the list has them all: then it is no second count.
        """
        if self._depot is None or not self._depot.counts_pages:
            return None
        listed = listed_handles(self._dump, self._depot)
        counted = self._depot.pages_counted()
        if listed is None or counted.keys() <= set(listed):
            return None
        return self._counted({handle: counted[handle] for handle in listed if handle in counted})

    def counted_by_program(self) -> list[tuple[Notes, Batch]]:
        """What oomscope's own program on the OOM path kept: the panic's report, else that of each OOM kill."""
        return rows_of(panic_reports(self._dump), lambda addresses: tuple(map(self._names.frame, addresses)))

    def _page_frames(self, origin: str) -> list[Section]:
        """The sections; none where the dump lacks their table and still has the kernel log, the answer then."""
        try:
            found, reason = sections(self._dump), "not one memory section can be read"
        except (LookupError, drgn.FaultError, AttributeError) as error:
            found, reason = [], f"the table of memory sections cannot be read ({error})"
        if not found and not self.log:
            raise CorruptInput(f"{origin}: {reason}", advice="")
        if not found:
            self._dump.damage.append(Unknown("what the pages of RAM hold", reason))
            self.notes.stats.unread_share = 1.0
        return found

    def _counted(self, pages: dict[int, int]) -> Batch:
        tables = Tables(stacks=[self._names.stack(self._depot, h) for h in pages] if self._depot is not None else [])
        return Batch(tables, np.arange(len(pages), dtype=np.int64), pages=np.array(list(pages.values()), np.int64))

    def _page_owner(self) -> tuple[PageOwner | None, StackDepot | None]:
        absent = page_owner.why_absent(self._dump)
        if absent is not None:
            self.notes.absent = (absent,)
            return None, None
        try:
            return PageOwner(self._dump), StackDepot(self._dump)
        except (LookupError, drgn.FaultError, AttributeError, StopIteration) as error:
            reason = f"page_owner's data cannot be read: {error}"
            self.notes.absent = (Unknown("who allocated the pages", reason),)
            return None, None

    def _tracking(self) -> tuple[OwnerRows, PageOwners] | None:
        """The owners that oomscope itself has kept, where page_owner did not."""
        table = None if self._owner is not None else page_owners(self._dump, self.log)
        if table is None:
            return None
        return OwnerRows(table, lambda addresses: map(self._names.frame, addresses)), table

    def _take_notes(self, rows: OwnerRows) -> None:
        rows.finish()
        self.notes.stats.records += rows.notes.stats.records
        self.notes.tracked_since_ns = rows.notes.tracked_since_ns
        self.notes.missed_frees = rows.notes.missed_frees
        self.notes.absent = rows.notes.absent

    def _unknown(self, stack: Column) -> int:
        """How many blocks have a handle that the depot does not know: their entry, or the depot, is damaged."""
        unknown = [index for index, each in enumerate(self._tables.stacks) if not each.frames]
        return int(np.isin(stack, unknown).sum()) if unknown else 0

    def _stacks(self, entries: OwnerEntries) -> tuple[Column, Column | None]:
        """The stack of every block, and of every frame where each has an entry."""
        if entries.handle_of_frame is None:
            handles, inverse = np.unique(entries.handle, return_inverse=True)
            return self._indices(handles)[inverse], None
        handles, inverse = np.unique(entries.handle_of_frame, return_inverse=True)
        of_frame = self._indices(handles)[inverse]
        return of_frame[entries.frame], of_frame

    def _indices(self, handles: npt.NDArray[np.uint32]) -> Column:
        return np.array([self._stack_index(handle) if handle else -1 for handle in handles.tolist()], np.int64)

    def _stack_index(self, handle: int) -> int:
        if handle not in self._stack_of:
            assert self._depot is not None
            self._stack_of[handle] = len(self._tables.stacks)
            self._tables.stacks.append(self._names.stack(self._depot, handle))
        return self._stack_of[handle]

    def _batch(self, section: Section, entries: OwnerEntries, stack: Column, *, ranking_only: bool) -> Batch:
        if ranking_only:
            return Batch(self._tables, stack, pages=entries.pages, blocks=np.ones(len(stack), np.int64))
        return Batch(
            self._tables,
            stack,
            pages=entries.pages,
            blocks=np.ones(len(stack), np.int64),
            request=self._requests(entries),
            task=self._tasks(entries),
            place=self._places.of(section.start_pfn + entries.frame),
            allocated_ns=entries.allocated_ns,
        )

    def _requests(self, entries: OwnerEntries) -> Column:
        keys, inverse = np.unique(entries.order << 32 | entries.gfp_mask.astype(np.int64), return_inverse=True)
        for key in keys.tolist():
            if key not in self._request_of:
                gfp_mask = key & 0xFFFFFFFF
                self._request_of[key] = len(self._tables.requests)
                self._tables.requests.append(Request(key >> 32, gfp_mask, self._gfp.of(gfp_mask)))
        return np.array([self._request_of[key] for key in keys.tolist()], np.int64)[inverse]

    def _tasks(self, entries: OwnerEntries) -> Column | None:
        if entries.pid is None:
            return None
        columns = [entries.pid.astype(np.int64)]
        if entries.tgid is not None:
            columns.append(entries.tgid.astype(np.int64))
        if entries.comm is not None:
            columns += [entries.comm[:, 0].view(np.int64), entries.comm[:, 1].view(np.int64)]
        first, inverse = _distinct(columns)
        indices = []
        for row in first.tolist():
            pid = int(entries.pid[row])
            tgid = None if entries.tgid is None else int(entries.tgid[row])
            comm = None if entries.comm is None else entries.comm[row].tobytes().split(b"\0")[0]
            key = (pid, -1 if tgid is None else tgid, comm or b"")
            if key not in self._task_of:
                self._task_of[key] = len(self._tables.tasks)
                self._tables.tasks.append(Task(pid, tgid, None if comm is None else printable(comm)))
            indices.append(self._task_of[key])
        return np.array(indices, np.int64)[inverse]


def _distinct(columns: list[npt.NDArray[np.int64]]) -> tuple[Column, Column]:
    """Rows that differ: the first place of each, and for every row which of them it is."""
    if len(columns) == 1:
        mixed = columns[0].view(np.uint64)
    else:
        # One sort instead of one per column: rows are told apart by a mix of their words, which is then checked.
        mixed = np.zeros(len(columns[0]), np.uint64)
        for column in columns:
            mixed = (mixed ^ column.view(np.uint64)) * _ODD
            mixed ^= mixed >> np.uint64(29)
    _, first, inverse = np.unique(mixed, return_index=True, return_inverse=True)
    if not all((column[first][inverse] == column).all() for column in columns):
        rows = np.stack(columns, axis=1)
        _, first, inverse = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    return first.astype(np.int64), inverse.astype(np.int64).ravel()
