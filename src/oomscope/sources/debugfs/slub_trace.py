"""What SLUB prints of a cache whose objects are traced (/sys/kernel/slab/CACHE/trace, mm/slub.c trace()), in a log."""

from __future__ import annotations

import re

from oomscope import bounds
from oomscope.model.reading import Notes
from oomscope.model.slab_objects import BY_TRACE, CacheObjects
from oomscope.model.stack import Frame
from oomscope.sources.base import AccountSource
from oomscope.sources.stack_table import StackTable
from oomscope.text import Lines, printable

ROW = re.compile(rb"\s*TRACE (?P<cache>\S{1,80}) (?P<what>alloc|free) (?:0x)?(?P<address>[0-9a-f]{8,16}) inuse=")
# `f+0x1/0x2 [module]`, behind an address or not; ARM prints `(f+0x1/0x2) from [<...>] (caller+...)`.
FRAME = re.compile(
    rb"\s*(?:\[<[0-9a-f]{8,16}>\] )?\(?(?P<frame>[\w.$]{1,200}\+0x[0-9a-f]{1,8}/0x[0-9a-f]{1,8}"
    rb"(?: \[[\w-]{1,60}\])?)\)?"
    rb"(?: from \[<[0-9a-f]{8,16}>\] \((?P<caller>[\w.$]{1,200}\+0x[0-9a-f]{1,8}/0x[0-9a-f]{1,8}"
    rb"(?: \[[\w-]{1,60}\])?)\))?\s*+$"
)
ABOUT = re.compile(
    rb"\s*(?:CPU: \d|Hardware name: |Workqueue: |Backtrace:|Call Trace:|r\d{1,2}:|Modules linked|Stack : |\.\.\."
    rb"|[0-9a-f]{8} )"
)
_OWN = frozenset({"dump_backtrace", "show_stack", "dump_stack", "dump_stack_lvl", "alloc_debug_processing", "trace"})


def _recognises(head: bytes) -> bool:
    """The line of an object at the very beginning."""
    return ROW.match(head) is not None


def _read(rows: Lines) -> Notes:
    """`notes.accounts.cache_objects` has who allocated objects that were not freed while it was watched."""
    notes = Notes()
    stacks = StackTable()
    alive: dict[bytes, tuple[bytes, list[Frame]]] = {}
    frames: list[Frame] | None = None
    for line in rows:
        text = line or b""
        if (match := ROW.match(text)) is not None:
            frames = None
            if match["what"] == b"free":
                alive.pop(match["address"], None)
            elif len(alive) < bounds.NAMES:
                frames = []
                alive[match["address"]] = (match["cache"], frames)
        elif (found := FRAME.match(text)) is not None:
            frame = stacks.frame(found["caller"] or found["frame"])
            if frames is not None and frame is not None and len(frames) < bounds.STACK_FRAMES:
                frames += [] if frame.function in _OWN else [frame]
        elif line is None or (text.strip() and ABOUT.match(text) is None):
            notes.stats.unknown_lines += 1
    held: dict[bytes, dict[int, int]] = {}
    objects: dict[bytes, int] = {}
    for cache, of in alive.values():
        objects[cache] = objects.get(cache, 0) + 1
        index = stacks.index(of) if of else None
        if index is not None:
            owners = held.setdefault(cache, {})
            owners[index] = owners.get(index, 0) + 1
    notes.accounts.cache_objects = tuple(
        CacheObjects(
            printable(cache),
            BY_TRACE,
            objects[cache],
            tuple((stacks.tables.stacks[at], count) for at, count in sorted(owners.items(), key=lambda each: -each[1])),
        )
        for cache, owners in held.items()
    )
    return notes


SLUB_TRACE = AccountSource("SLUB TRACE", _recognises, _read)
