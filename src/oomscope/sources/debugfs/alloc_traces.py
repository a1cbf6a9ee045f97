"""/sys/kernel/debug/slab/CACHE/alloc_traces (mm/slub.c slab_debugfs_show(), slub_debug=U): who holds a cache's objects.

The file does not say which cache it is of: the kernel says that in the name of its folder.
"""

from __future__ import annotations

import re
from dataclasses import replace

from oomscope import bounds
from oomscope.model.reading import Notes, Reading
from oomscope.model.slab_objects import BY_TRACKS, CacheObjects
from oomscope.model.stack import Frame, Stack
from oomscope.model.unknown import Unknown
from oomscope.sources.base import AccountSource
from oomscope.sources.stack_table import StackTable
from oomscope.text import Lines, first_line

_OWNER = re.compile(rb" *+(?P<count>\d{1,15}) (?P<caller>\S.{0,600}?)(?: waste=\d{1,20}/\d{1,20})? age=\d\S*+ pid=")
_NO_OWNERS = b"No data\n"
_CACHE = re.compile(r"slab/(?P<cache>[^/:]{1,200})/(?:alloc|free)_traces")
_FREE_TRACES = re.compile(r"(?:^|[/:])free_traces(?:\.\w+)?$")
_FRAME = b"    "


def _recognises(head: bytes) -> bool:
    """A line of an owner at the very beginning, or that there is none."""
    return _OWNER.match(first_line(head)) is not None or head == _NO_OWNERS


def _read(rows: Lines) -> Notes:
    """`notes.accounts.cache_objects` has the owners, the greatest first."""
    notes = Notes()
    owners = _Owners(notes)
    for line in rows:
        if begins := _OWNER.match(line or b""):
            owners.begin(int(begins["count"]), begins["caller"])
        elif line is None or not line.startswith(_FRAME) or not owners.take_frame(line):
            notes.stats.unknown_lines += line not in (b"", _NO_OWNERS.strip())
    owners.close()
    ranked = owners.ranked()
    if ranked:
        notes.accounts.cache_objects = (CacheObjects("", BY_TRACKS, sum(count for _, count in ranked), ranked),)
    return notes


class _Owners:
    """Objects by the stack that allocated them."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._stacks = StackTable()
        self._held: dict[int, int] = {}
        self._count = 0
        self._frames: list[Frame] | None = None

    def begin(self, count: int, caller: bytes) -> None:
        """An owner's own line."""
        self.close()
        frame = self._stacks.frame(caller)
        self._count, self._frames = count, [] if frame is None else [frame]

    def take_frame(self, line: bytes) -> bool:
        """Whether a line is a frame of the owner above it."""
        frame = self._stacks.frame(line)
        if frame is None or self._frames is None or len(self._frames) >= bounds.STACK_FRAMES:
            return False
        # From 5.16 on the stack follows, and begins with the caller.
        if len(self._frames) != 1 or self._frames[0] != frame:
            self._frames.append(frame)
        return True

    def close(self) -> None:
        """No more frames of this owner."""
        frames, self._frames = self._frames, None
        if frames is None or not self._count:
            return
        index = self._stacks.index(frames)
        if index is None:
            self._notes.stats.leave_out("stacks")
        else:
            self._held[index] = self._held.get(index, 0) + self._count

    def ranked(self) -> tuple[tuple[Stack, int], ...]:
        """The owners, the greatest first."""
        stacks = self._stacks.tables.stacks
        return tuple((stacks[at], count) for at, count in sorted(self._held.items(), key=lambda pair: -pair[1]))


def _located(reading: Reading) -> Reading:
    """With the cache that its folder names; free_traces, of the same lines, says who freed an object's place last."""
    notes = reading.notes
    if _FREE_TRACES.search(reading.origin):
        reason = "it tells who freed objects last, not who holds them: no part of it"
        notes.accounts.cache_objects, notes.absent = (), (Unknown(reading.origin, reason),)
        return replace(reading, format="free_traces")
    if cache := _CACHE.search(reading.origin):
        notes.accounts.cache_objects = tuple(
            replace(objects, cache=cache["cache"]) for objects in notes.accounts.cache_objects
        )
    return reading


ALLOC_TRACES = AccountSource("alloc_traces", _recognises, _read, _located)
