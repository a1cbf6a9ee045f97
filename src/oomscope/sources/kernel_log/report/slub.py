"""A slab cache that could not grow (mm/slub.c slab_out_of_memory()): the request's flags, and the cache's own line."""

from __future__ import annotations

import re

from oomscope.model.oom_event import SLAB_FAILURE, SlabRequest
from oomscope.sources.kernel_log.report.draft import Draft, ReportSection
from oomscope.sources.kernel_log.report.header import flags_of
from oomscope.text import printable

UNABLE = re.compile(
    rb"SLUB: Unable to allocate memory on (?:node|CPU)[ #]*-?\d{1,6},? {0,2}\(?(?:on node -?\d{1,6} \()?"
    rb"gfp=(?P<mask>0x[0-9a-f]{1,16})(?:\((?P<flags>[^)]{0,1000})\))?"
)
_CACHE = re.compile(
    rb" *cache: (?P<cache>[^,\s(]{1,120})(?:\((?P<group>[^)]{1,200})\))?(?:\(-?\w{0,40}\))?,"
    rb"(?: object size: (?P<size>\d{1,9}),)?(?: buffer size: \d{1,9},)?(?: default order: (?P<order>\d{1,2}))?"
)


class SlabRequestLines(ReportSection):
    """The first request of the event: a cache that cannot grow says so once for every try."""

    __slots__ = ("_asked", "request")
    first_bytes = b"S c"

    def __init__(self, draft: Draft, asked: dict[str, object]) -> None:
        super().__init__(draft)
        self._asked = asked
        self.request: SlabRequest | None = None

    def take(self, text: bytes, number: int) -> bool:
        """See ReportSection."""
        if (match := UNABLE.match(text)) is not None:
            if self.draft.kind == SLAB_FAILURE:
                self._asked.setdefault("gfp_mask", int(match["mask"], 16))
                self._asked.setdefault("gfp_flags", flags_of(match["flags"]))
                self.draft.at("header", number, text)
            return True
        match = _CACHE.match(text)
        if match is None:
            return False
        if self.request is None:
            group, size, order = match["group"], match["size"], match["order"]
            self.request = SlabRequest(
                printable(match["cache"]),
                None if group is None else printable(group),
                None if size is None else int(size),
                None if order is None else int(order),
                number,
            )
            self.draft.at("slab cache", number, text)
        return True
