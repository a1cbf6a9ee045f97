"""/sys/kernel/debug/slab/CACHE/alloc_traces (mm/slub.c slab_debugfs_show(), slub_debug=U): who holds a cache's objects.

The file does not say which cache it is of: the kernel says that in the name of its folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from oomscope.model.batch import Batch
from oomscope.model.reading import Notes
from oomscope.model.slab_objects import BY_TRACKS, CacheObjects
from oomscope.model.stack import Frame, Stack, parse_frame
from oomscope.sources.base import lines, printable

_OWNER = re.compile(rb" *(?P<count>\d{1,15}) (?P<caller>\S.{0,600}?)(?: waste=\d+/\d+)? age=\d+\S* pid=.*")
_NO_OWNERS = b"No data\n"
_FRAME = re.compile(rb" {4,}(?P<frame>\S.{0,600}?) *")


class AllocTracesText:
    """The format: objects, caller and their ages in the first line."""

    format = "alloc_traces"
    separator: bytes | None = None

    def recognises(self, head: bytes) -> bool:
        """A line of an owner at the very beginning, or that there is none."""
        return _OWNER.match(head) is not None or head == _NO_OWNERS

    def parser(self, *, ranking_only: bool) -> AllocTracesParser:  # noqa: ARG002 - it has nothing to leave out
        """A parser for one file."""
        return AllocTracesParser()


class AllocTracesParser:
    """Yields no rows; `notes.cache_objects` has the owners, the greatest first; see Parser."""

    def __init__(self) -> None:
        self.notes = Notes()

    def batches(self, chunks: Iterable[bytes]) -> Iterator[Batch]:
        """No rows."""
        owners: list[tuple[int, list[Frame]]] = []
        for line in lines(chunks):
            if owner := _OWNER.fullmatch(line or b""):
                caller = parse_frame(printable(owner["caller"]))
                owners.append((int(owner["count"]), [] if caller is None else [caller]))
            elif (
                (frame := _FRAME.fullmatch(line or b"")) and owners and (read := parse_frame(printable(frame["frame"])))
            ):
                frames = owners[-1][1]
                # From 5.16 on the stack follows, and begins with the caller.
                if len(frames) != 1 or frames[0] != read:
                    frames.append(read)
            else:
                self.notes.unknown_lines += line not in (b"", _NO_OWNERS.strip())
        held: dict[Stack, int] = {}
        for count, frames in owners:
            held[Stack(tuple(frames))] = held.get(Stack(tuple(frames)), 0) + count
        ranked = tuple(sorted(held.items(), key=lambda pair: -pair[1]))
        if ranked:
            self.notes.cache_objects = (CacheObjects("", BY_TRACKS, sum(held.values()), ranked),)
        yield from ()
