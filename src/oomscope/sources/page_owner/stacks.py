"""/sys/kernel/debug/page_owner_stacks: show_stacks, show_handles, show_stacks_handles, in every form since 6.9.

A block is a stack (one leading space per frame), then `handle: H` and/or a count, then a blank line
(mm/page_owner.c, stack_print()). 6.9-rc and some backports print `stack_count: N`, the number of allocations;
`nr_base_pages: N` is pages. show_stacks_handles (6.19+) has no count, show_handles no stack.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from oomscope import bounds
from oomscope.model.batch import Batch
from oomscope.model.reading import Notes, Role
from oomscope.model.stack import Frame, Stack
from oomscope.numeric import np
from oomscope.sources.base import RowSource
from oomscope.sources.stack_table import StackTable
from oomscope.text import lines

_COUNT = re.compile(rb"(?P<what>nr_base_pages|stack_count): (?P<count>\d{1,19})")
_HANDLE = re.compile(rb"handle: (?P<handle>-?\d{1,10})")
_KNOWN = re.compile(rb"(?:^|\n)(?:nr_base_pages|stack_count|handle): -?\d{1,20}\r?(?:\n|$)")
_WORDS = (b"nr_base_pages: ", b"stack_count: ", b"handle: ")
_BLOCKS_PER_BATCH = 4096


class PageOwnerStacks(RowSource):
    """The format: recognised by a count or handle line."""

    format = "page_owner_stacks"
    role = Role.STACK_COUNTS

    def recognises(self, head: bytes) -> bool:
        """A line that is `nr_base_pages: N`, `stack_count: N` or `handle: N`."""
        return any(word in head for word in _WORDS) and _KNOWN.search(head) is not None

    def parser(self, *, ranking_only: bool) -> PageOwnerStacksParser:  # noqa: ARG002 - it has nothing to leave out
        """A parser of its own tables."""
        return PageOwnerStacksParser()


class PageOwnerStacksParser:
    """Turns blocks into rows; see Parser."""

    def __init__(self) -> None:
        self.notes = Notes()
        self._stacks = StackTable()
        self._pages: list[tuple[int, int]] = []
        self._allocations: list[tuple[int, int]] = []

    def batches(self, chunks: Iterable[bytes]) -> Iterator[Batch]:
        """Rows of a file whose bytes come in `chunks`."""
        block = _Block()
        for line in lines(chunks):
            if line is not None and not line.strip():
                self._close(block)
                block = _Block()
            elif not self._take(block, line):
                block.spoilt = True
            if len(self._pages) + len(self._allocations) >= _BLOCKS_PER_BATCH:
                yield from self._drain()
        self._close(block)
        yield from self._drain()

    def _take(self, block: _Block, line: bytes | None) -> bool:
        """Whether the line belongs where it stands."""
        if line is None:
            return False
        if line.startswith(b" "):
            frame = self._stacks.frame(line)
            if frame is None or block.counted or len(block.frames) >= bounds.STACK_FRAMES:
                return False
            block.frames.append(frame)
            return True
        if (match := _HANDLE.fullmatch(line)) is not None:
            block.handle = int(match["handle"]) % (1 << 32)
            return True
        if (match := _COUNT.fullmatch(line)) is not None and not block.counted and int(match["count"]) <= bounds.PAGES:
            if match["what"] == b"nr_base_pages":
                block.pages = int(match["count"])
            else:
                block.allocations = int(match["count"])
            return True
        self.notes.stats.unknown_lines += 1
        return not block.frames

    def _close(self, block: _Block) -> None:
        if block.spoilt:
            self.notes.stats.corrupt_records += 1
            return
        if not block.frames and block.handle is None:
            return
        if block.frames and block.handle is not None and len(self.notes.handles) < bounds.STACKS:
            self.notes.handles[block.handle] = Stack(tuple(block.frames), block.handle)
        if block.counted:
            index = self._stacks.index(block.frames, block.handle)
            if index is None:
                self.notes.stats.leave_out("stacks")
                return
            self.notes.stats.records += 1
            if block.pages is not None:
                self._pages.append((index, block.pages))
            elif block.allocations is not None:
                self._allocations.append((index, block.allocations))
        elif block.handle is None:
            self.notes.stats.corrupt_records += 1  # a stack without its count: the file is cut here
            self.notes.stats.cut_off = True

    def _drain(self) -> Iterator[Batch]:
        for rows, column in ((self._pages, "pages"), (self._allocations, "blocks")):
            if rows:
                stack, count = np.array(rows, np.int64).T
                if column == "pages":
                    yield Batch(self._stacks.tables, stack, pages=count)
                else:
                    yield Batch(self._stacks.tables, stack, blocks=count)
                rows.clear()


class _Block:
    """The block being read."""

    __slots__ = ("allocations", "frames", "handle", "pages", "spoilt")

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.handle: int | None = None
        self.pages: int | None = None
        self.allocations: int | None = None
        self.spoilt = False

    @property
    def counted(self) -> bool:
        return self.pages is not None or self.allocations is not None
