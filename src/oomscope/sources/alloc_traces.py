"""/sys/kernel/debug/slab/CACHE/alloc_traces (mm/slub.c slab_debugfs_show(), slub_debug=U): who holds a cache's objects.

The file does not say which cache it is of: the kernel says that in the name of its folder.
"""

from __future__ import annotations

import re

from oomscope.model.reading import Notes
from oomscope.model.slab_objects import BY_TRACKS, CacheObjects
from oomscope.model.stack import Frame, Stack, parse_frame
from oomscope.sources.base import Account, Lines, printable

_OWNER = re.compile(rb" *(?P<count>\d{1,15}) (?P<caller>\S.{0,600}?)(?: waste=\d+/\d+)? age=\d+\S* pid=.*")
_NO_OWNERS = b"No data\n"
_FRAME = re.compile(rb" {4,}(?P<frame>\S.{0,600}?) *")


def _recognises(head: bytes) -> bool:
    """A line of an owner at the very beginning, or that there is none."""
    return _OWNER.match(head) is not None or head == _NO_OWNERS


def _read(rows: Lines) -> Notes:
    """`notes.cache_objects` has the owners, the greatest first."""
    notes = Notes()
    owners: list[tuple[int, list[Frame]]] = []
    for line in rows:
        if owner := _OWNER.fullmatch(line or b""):
            caller = parse_frame(printable(owner["caller"]))
            owners.append((int(owner["count"]), [] if caller is None else [caller]))
        elif (frame := _FRAME.fullmatch(line or b"")) and owners and (read := parse_frame(printable(frame["frame"]))):
            frames = owners[-1][1]
            # From 5.16 on the stack follows, and begins with the caller.
            if len(frames) != 1 or frames[0] != read:
                frames.append(read)
        else:
            notes.unknown_lines += line not in (b"", _NO_OWNERS.strip())
    held: dict[Stack, int] = {}
    for count, frames in owners:
        held[Stack(tuple(frames))] = held.get(Stack(tuple(frames)), 0) + count
    ranked = tuple(sorted(held.items(), key=lambda pair: -pair[1]))
    if ranked:
        notes.cache_objects = (CacheObjects("", BY_TRACKS, sum(held.values()), ranked),)
    return notes


ALLOC_TRACES = Account("alloc_traces", _recognises, _read)
