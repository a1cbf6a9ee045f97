"""A slab cache that could not grow (mm/slub.c slab_out_of_memory()): the request's flags, and the cache's own line."""

from __future__ import annotations

import re
from dataclasses import replace

from oomscope.model.oom_event import SHOWN, SLAB_FAILURE, SlabRequest
from oomscope.sources.kernel_log.report.draft import Draft, ReportSection
from oomscope.sources.kernel_log.report.header import flags_of
from oomscope.text import printable

UNABLE = re.compile(
    rb"SLUB: Unable to allocate memory on (?:node|CPU)[ #]*-?\d{1,6}(?: \(of node \d{1,6}\))?,? {0,2}"
    rb"(?:on node -?\d{1,6},? ?)?\(?gfp=(?P<mask>0x[0-9a-f]{1,16})(?:\((?P<flags>[^)]{0,1000})\))?"
)
_CACHE = re.compile(
    rb" *cache: (?P<cache>[^,\s(]{1,120})(?:\((?P<group>[^)]{1,200})\))?(?:\(-?\w{0,40}\))?,"
    rb"(?: object size: (?P<size>\d{1,9}),)?(?: buffer size: \d{1,9},)?(?: default order: (?P<order>\d{1,2}))?"
    rb"(?:, min order: (?P<least>\d{1,2}))?"
)
_NODE = re.compile(rb" *node \d{1,6}: slabs: (?P<slabs>\d{1,12}), objs: (?P<objects>\d{1,15}), free: \d")


class SlabRequestLines(ReportSection):
    """The request of the event, of several caches the largest: one that cannot grow says so once for every try."""

    __slots__ = ("_asked", "_latest", "request")
    first_bytes = b"S cn"

    def __init__(self, draft: Draft, asked: dict[str, object]) -> None:
        super().__init__(draft)
        self._asked = asked
        self.request: SlabRequest | None = None
        self._latest: SlabRequest | None = None  # the cache whose nodes come next

    def take(self, text: bytes, number: int) -> bool:
        """See ReportSection."""
        if (match := UNABLE.match(text)) is not None:
            if self.draft.kind == SHOWN:
                self.draft.kind = SLAB_FAILURE  # whose own report it is that stands above
            if self.draft.kind == SLAB_FAILURE:
                self._asked.setdefault("gfp_mask", int(match["mask"], 16))
                self._asked.setdefault("gfp_flags", flags_of(match["flags"]))
                self.draft.at("header", number, text)
            return True
        if (nodes := _NODE.match(text)) is not None:
            self._grow(int(nodes["slabs"]), int(nodes["objects"]))
            return True
        match = _CACHE.match(text)
        if match is None:
            return False
        group = match["group"]
        size, order, least = (None if match[name] is None else int(match[name]) for name in ("size", "order", "least"))
        cache = printable(match["cache"])
        self._latest = SlabRequest(cache, None if group is None else printable(group), size, order, number, least)
        if self.request is None:
            self.request = self._latest
        self.draft.at("slab cache", self.request.line, text)
        return True

    def _grow(self, slabs: int, objects: int) -> None:
        """The slabs of one node more; the same cache asks again and again, with the same numbers."""
        if self._latest is None or self.request is None:
            return
        self._latest = replace(self._latest, slabs=self._latest.slabs + slabs, objects=self._latest.objects + objects)
        if self._latest.most_pages > self.request.most_pages:
            self.request = self._latest
