"""What other tools call a frame."""

from __future__ import annotations

from oomscope.model.ranked import Consumer
from oomscope.model.stack import Frame


def name_of(frame: Frame) -> str:
    """A function with its module, without offsets: two calls from one function are one frame."""
    return frame.function if frame.module is None else f"{frame.function} [{frame.module}]"


def path_of(consumer: Consumer) -> list[str]:
    """The names of a stack's frames, the entry first; of a stack known by its handle alone, that."""
    stack = consumer.holding.stack
    return [name_of(frame) for frame in reversed(stack.frames)] or [f"handle {stack.handle}"]
