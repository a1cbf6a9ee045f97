"""The distinct stacks of one input, and the frames that they are made of, each parsed once."""

from __future__ import annotations

from collections.abc import Iterable

from oomscope import bounds
from oomscope.model.batch import Tables
from oomscope.model.stack import Frame, Stack, parse_frame
from oomscope.text import printable


class StackTable:
    """Indices of stacks in `tables`; beyond bounds.STACKS a stack that was not met before has none.

    `left_out` counts how often that was so.
    """

    def __init__(self, tables: Tables | None = None) -> None:
        self.tables = tables or Tables()
        self.left_out = 0
        self._ids: dict[Stack, int] = {}
        self._frames: dict[bytes, Frame | None] = {}

    def frame(self, line: bytes) -> Frame | None:
        """The frame in a line of a stack, whatever blanks stand around it; None where there is none."""
        try:
            return self._frames[line]
        except KeyError:
            frame = parse_frame(printable(line).strip())
        if len(self._frames) >= bounds.FRAMES_REMEMBERED:
            self._frames.clear()
        self._frames[line] = frame
        return frame

    def index(self, frames: Iterable[Frame], handle: int | None = None) -> int | None:
        """Where the stack stands in the table."""
        stack = Stack(tuple(frames), handle)
        index = self._ids.get(stack)
        if index is None:
            if len(self._ids) >= bounds.STACKS:
                self.left_out += 1
                return None
            index = self._ids[stack] = len(self.tables.stacks)
            self.tables.stacks.append(stack)
        return index
