"""What kind of memory a stack holds, and which frame answers for it."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from oomscope.attribution.frame_rules import Row, frame_row, subsystem_of
from oomscope.model.holding import EARLY, HUGETLB, KERNEL, PAGE_CACHE, UNTRACKED, USER, Culprit
from oomscope.model.stack import Frame, Stack, parse_frame

BUILT_IN = "vmlinux"
_WITHIN_ALLOCATOR = 4  # frames
_ALLOCATORS = ("page allocator", "slab allocator", "vmalloc", "CMA", "memory cgroups: charged")


@dataclass(frozen=True, slots=True)
class Attributed:
    """The kind of memory, the frame that answers for it (its place in the stack), and page_owner's own label.

    `is_helper` tells that nothing but plumbing and entry code stands in the stack: the last helper answers for want of
    a better one, for example because the stack was cut at its greatest depth.
    """

    kind: str
    label: str | None
    culprit: Culprit | None
    culprit_index: int | None
    is_helper: bool = False


@lru_cache(maxsize=1 << 17)
def attribute(stack: Stack) -> Attributed:
    """Judge a stack by the tables.

    The culprit is a frame that encloses all below it, where there is one, else the first from the allocator outwards
    that is neither plumbing nor entry code; where all are, it is the last plumbing frame before the entry code. User
    memory, page cache and huge page pools have no culprit: a process, a file or the administrator holds them, not the
    code that brought them in. `label` is `early`, `dummy` or `failure` for the stacks that page_owner itself made up,
    which are never named; a stack known by its handle alone has neither.
    """
    if not stack.frames:
        return Attributed(UNTRACKED, None, None, None)
    rows = [frame_row(frame.function) for frame in stack.frames]
    for frame, row in zip(stack.frames, rows, strict=True):
        if row is not None and row.role == "label":
            return Attributed(row.kind or UNTRACKED, _label(frame), None, None)
    index = _culprit_index(rows)
    kind = _kind(rows[: index + 1])
    if kind in (USER, PAGE_CACHE, HUGETLB):
        return Attributed(kind, None, None, None)
    return Attributed(kind, None, _culprit(stack.frames[index]), index, is_helper=_is_helper(rows[index]))


def requester(texts: Iterable[str]) -> Culprit | None:
    """Who asked, by the stack that an OOM report prints of the request: what printed the report stands outside of it.

    None where the stack tells of no allocation, or of nobody who asked for it: it was cut.
    """
    frames = [frame for text in texts if (frame := parse_frame(text)) is not None]
    rows = [frame_row(frame.function) for frame in frames]
    first = next((at for at, row in enumerate(rows) if row is not None and row.role == "plumbing"), None)
    if first is None:
        return None
    attributed = attribute(Stack(tuple(frames[first:])))
    return None if attributed.is_helper else attributed.culprit


def module_name(culprit: Culprit | None) -> str | None:
    """The module's name, `vmlinux` for built-in code, None where nothing answers."""
    return None if culprit is None else culprit.module or BUILT_IN


def name_of(stack: Stack) -> str:
    """How a stack is called in one word: who answers for it, else what it is."""
    attributed = attribute(stack)
    if attributed.culprit is not None:
        return str(attributed.culprit)
    if attributed.label is not None:
        return f"({attributed.label} pages)"
    if not stack.frames:
        return f"(stack of handle {stack.handle})"
    return f"({attributed.kind})"


def _label(frame: Frame) -> str:
    for label in ("dummy", "failure"):
        if label in frame.function:
            return label
    return EARLY


def _culprit_index(rows: list[Row | None]) -> int:
    enclosing = next((at for at, row in enumerate(rows) if row is not None and row.role == "encloses"), None)
    if enclosing is not None:
        return enclosing
    last_plumbing = 0
    for index, row in enumerate(rows):
        if row is None or row.role == "answers":
            if index or not _is_called_by_the_allocator(rows):
                return index
        elif row.role == "plumbing":
            last_plumbing = index
    return last_plumbing


def _is_helper(row: Row | None) -> bool:
    return row is not None and row.role not in ("answers", "encloses")


def _is_called_by_the_allocator(rows: list[Row | None]) -> bool:
    """Whether the innermost frame, which the table does not know, stands within an allocation.

    Traces of a failure, of KASAN or kmemleak may begin there, page_owner's never do.
    """
    return any(row is not None and is_allocator(row) for row in rows[1:_WITHIN_ALLOCATOR])


def is_allocator(row: Row) -> bool:
    """Whether a row is of the allocators themselves."""
    return row.role == "plumbing" and row.reason.startswith(_ALLOCATORS)


def _kind(plumbing: list[Row | None]) -> str:
    decided = None
    for row in plumbing:
        if row is not None and row.kind is not None and (decided is None or row.kind == KERNEL):
            decided = row.kind
    return decided or KERNEL


def _culprit(frame: Frame) -> Culprit:
    folder = None if frame.source is None else posixpath.dirname(frame.source).removeprefix("./")
    subsystem = frame.module or folder or subsystem_of(frame.function)
    return Culprit(frame.function, frame.module, subsystem)
