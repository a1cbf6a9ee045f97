r"""Tracked pages as text, for archives: what the table of owners says, told once.

    oomscope tracked pages 1
    since_ns: 6779570000
    at_ns: 12094760000
    absent: 1,234 pages allocated since: their stacks could not be taken

     take_page+0x27/0x50 [oomlab]
     ...
    allocated_ns: 7000000000 100, 8000000000 39909
    nr_base_pages: 40009

The blocks are those of page_owner_stacks, with the times beside them: when, and how many of the pages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from oomscope import bounds
from oomscope.model.batch import Batch
from oomscope.model.reading import Notes, Role
from oomscope.model.stack import Frame
from oomscope.model.unknown import Unknown
from oomscope.numeric import np
from oomscope.sources.base import RowSource
from oomscope.sources.stack_table import StackTable
from oomscope.sources.tracker.table import FORMAT, OwnerRows
from oomscope.text import first_line, lines, printable

_TITLE = b"oomscope tracked pages 1"
_NUMBER = re.compile(rb"(?P<name>since_ns|at_ns): (?P<value>\d{1,18})")
_ABSENT = re.compile(rb"absent: (?P<what>[^:]{1,500}): (?P<reason>.{1,500})")
_PAGES = re.compile(rb"nr_base_pages: (?P<pages>\d{1,15})")
_TIMES = re.compile(rb"allocated_ns: (?P<times>\d{1,18} \d{1,15}(?:, \d{1,18} \d{1,15})*+)")
_TIMES_KEPT = 64
_ROWS_PER_BATCH = 1 << 16


def text_of(rows: OwnerRows, at_ns: int) -> Iterator[str]:
    """The text of a table, a stack at a time; times are told to a 64th of the span since tracking began."""
    since_ns = rows.notes.tracked_since_ns or 0
    step_ns = max(1, -(-(at_ns - since_ns + 1) // _TIMES_KEPT))
    pages = np.zeros((0, _TIMES_KEPT), np.int64)
    for batch in rows.batches():
        assert batch.pages is not None
        assert batch.allocated_ns is not None
        pages = np.concatenate([pages, np.zeros((len(rows.tables.stacks) - len(pages), _TIMES_KEPT), np.int64)])
        step = ((batch.allocated_ns - since_ns) // step_ns).clip(0, _TIMES_KEPT - 1)
        np.add.at(pages, (batch.stack, step), batch.pages)
    yield f"{_TITLE.decode()}\nsince_ns: {since_ns}\nat_ns: {at_ns}\n"
    yield from (f"absent: {each.what}: {each.reason}\n" for each in rows.notes.absent)
    for index in np.argsort(-pages.sum(axis=1), kind="stable").tolist():
        steps = np.flatnonzero(pages[index]).tolist()
        times = ", ".join(f"{since_ns + step * step_ns} {int(pages[index, step])}" for step in steps)
        frames = "".join(f" {frame.text}\n" for frame in rows.tables.stacks[index].frames)
        yield f"\n{frames}allocated_ns: {times}\nnr_base_pages: {int(pages[index].sum())}\n"


class TrackedText(RowSource):
    """The format: recognised by its first line."""

    format = FORMAT
    role = Role.TRACKED

    def recognises(self, head: bytes) -> bool:
        """Whether a file begins so."""
        return first_line(head) == _TITLE

    def parser(self, *, ranking_only: bool) -> TrackedTextParser:  # noqa: ARG002 - it has nothing to leave out
        """A parser for one file."""
        return TrackedTextParser()


class TrackedTextParser:
    """Turns blocks into rows; see Parser."""

    def __init__(self) -> None:
        self.notes = Notes()
        self._stacks = StackTable()
        self._frames: list[Frame] = []
        self._times: list[tuple[int, int]] = []
        self._spoilt = False
        self._rows: list[tuple[int, int, int]] = []

    def batches(self, chunks: Iterable[bytes]) -> Iterator[Batch]:
        """Rows of a file whose bytes come in `chunks`."""
        for line in lines(chunks):
            if line is None:
                self._spoilt = True
            elif line.startswith(b" "):
                self._take_frame(line)
            elif (match := _PAGES.fullmatch(line)) is not None:
                self._close(int(match["pages"]))
            elif (match := _TIMES.fullmatch(line)) is not None:
                self._times = [(int(at), int(pages)) for at, pages in (t.split() for t in match["times"].split(b", "))]
            elif line.strip():
                self._take_head(line)
            if len(self._rows) >= _ROWS_PER_BATCH:
                yield self._drain()
        if self._frames:
            self.notes.stats.cut_off = True
            self.notes.stats.corrupt_records += 1
        yield self._drain()

    def _take_frame(self, line: bytes) -> None:
        frame = self._stacks.frame(line)
        if frame is None or self._times or len(self._frames) >= bounds.STACK_FRAMES:
            self._spoilt = True
        else:
            self._frames.append(frame)

    def _take_head(self, line: bytes) -> None:
        if (match := _NUMBER.fullmatch(line)) is not None:
            if match["name"] == b"at_ns":
                self.notes.at_ns = int(match["value"])
            else:
                self.notes.tracked_since_ns = int(match["value"])
        elif (match := _ABSENT.fullmatch(line)) is not None:
            told = Unknown(printable(match["what"]), printable(match["reason"]))
            if len(self.notes.absent) < bounds.UNKNOWN_LINES_KEPT:
                self.notes.absent = (*self.notes.absent, told)
        elif line != _TITLE:
            self.notes.stats.unknown_lines += 1
            self._spoilt |= bool(self._frames)

    def _close(self, pages: int) -> None:
        """The last line of a block: it counts where it is whole, and its times add up."""
        whole = not self._spoilt and self._frames and sum(count for _, count in self._times) == pages
        if not whole or pages > bounds.PAGES:
            self.notes.stats.corrupt_records += 1
        elif (index := self._stacks.index(self._frames)) is None:
            self.notes.stats.leave_out("stacks")
        else:
            self.notes.stats.records += 1
            self._rows += [(index, at_ns, count) for at_ns, count in self._times]
        self._frames, self._times, self._spoilt = [], [], False

    def _drain(self) -> Batch:
        stack, allocated_ns, pages = np.array(self._rows, np.int64).reshape(-1, 3).T
        self._rows = []
        return Batch(self._stacks.tables, stack, pages=pages, allocated_ns=allocated_ns)
