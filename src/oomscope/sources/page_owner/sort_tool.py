"""What the kernel's own tools/mm/page_owner_sort.c makes of page_owner's text, from 5.10's form to 7.2's.

A group is a line `N times, M pages[, more]:`, then a record of page_owner with its header or, with --cull, the stack
alone. 5.10 prints `N times:`, and the header's order tells the pages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from oomscope import bounds
from oomscope.model.batch import Batch
from oomscope.model.reading import Notes, Role
from oomscope.model.stack import Frame
from oomscope.numeric import np
from oomscope.sources.base import RowSource
from oomscope.sources.stack_table import StackTable
from oomscope.text import lines

_GROUP = re.compile(rb"(?P<times>\d{1,12}) times(?:, (?P<pages>\d{1,15}) pages(?:, [^\n]{0,200})?)? {0,4}:?")
_ORDER = re.compile(rb"Page allocated via order (?P<order>\d{1,2}), ")
_KNOWN = re.compile(
    rb"(?:^|\n)\d{1,12} times"
    rb"(?:(?:, \d{1,15} pages[^\n]{0,200})?:\r?\n(?: |Page allocated via order \d)|, \d{1,15} pages, P?T?G?ID \d)"
)
_ROWS_PER_BATCH = 4096


class PageOwnerSortText(RowSource):
    """The format: recognised by a group's line and what follows it."""

    format = "page_owner_sort"
    role = Role.STACK_COUNTS

    def recognises(self, head: bytes) -> bool:
        """A group's line with a header or a frame behind it; where little is before, other things may be, too."""
        is_short = len(head) < bounds.HEAD_BYTES
        return (_KNOWN.match(head.lstrip()) if is_short else _KNOWN.search(head)) is not None

    def parser(self, *, ranking_only: bool) -> PageOwnerSortParser:  # noqa: ARG002 - it has nothing to leave out
        """A parser of its own tables."""
        return PageOwnerSortParser()


class PageOwnerSortParser:
    """Turns groups into rows of pages and blocks; see Parser."""

    def __init__(self) -> None:
        self.notes = Notes()
        self._stacks = StackTable()
        self._rows: list[tuple[int, int, int]] = []

    def batches(self, chunks: Iterable[bytes]) -> Iterator[Batch]:
        """Rows of a file whose bytes come in `chunks`."""
        group: re.Match[bytes] | None = None
        order: int | None = None
        frames: list[Frame] = []
        for line in lines(chunks):
            if begins := _GROUP.fullmatch(line or b""):
                self._close(group, order, frames)
                group, order, frames = begins, None, []
            elif group is None or line is None:
                self.notes.stats.unknown_lines += line is None or bool(line)
            elif line.startswith(b" ") and len(frames) < bounds.STACK_FRAMES:
                frames += [frame] if (frame := self._stacks.frame(line)) else []
            elif header := _ORDER.match(line):
                order = int(header["order"])
            # What else a record has (PFN, memcg, migration) groups of many pages cannot have in common.
            if len(self._rows) >= _ROWS_PER_BATCH:
                yield self._drain()
        self._close(group, order, frames)
        if self._rows:
            yield self._drain()

    def _close(self, group: re.Match[bytes] | None, order: int | None, frames: list[Frame]) -> None:
        if group is None:
            return
        times = int(group["times"])
        if group["pages"] is not None:
            pages = int(group["pages"])
        elif order is not None and order <= bounds.ORDER:
            pages = times << order
        else:
            self.notes.stats.corrupt_records += 1
            return
        if not frames:
            self.notes.stats.corrupt_records += 1  # grouped without --cull's stacktrace, or cut off: of nobody
            return
        if pages > bounds.PAGES:
            self.notes.stats.corrupt_records += 1
            return
        index = self._stacks.index(frames)
        if index is None:
            self.notes.stats.leave_out("stacks")
            return
        self.notes.stats.records += 1
        self._rows.append((index, pages, times))

    def _drain(self) -> Batch:
        stack, pages, blocks = np.array(self._rows, np.int64).T
        self._rows.clear()
        return Batch(self._stacks.tables, stack, pages=pages, blocks=blocks)
