"""Zones: their fields in kB, and lowmem_reserve (mm/show_mem.c show_free_areas())."""

from __future__ import annotations

import re
from dataclasses import replace

from oomscope import bounds
from oomscope.model.oom_event import Zone
from oomscope.sources.kernel_log.report.draft import Draft, ReportSection

ZONE = re.compile(rb"(?:Node (?P<node>\d{1,4}) )?(?P<name>[A-Z][A-Za-z0-9]{1,15}) free: *\d")
RESERVE = re.compile(rb"lowmem_reserve\[\]:(?P<pages>(?: *+\d{1,20}){1,64})")


class Zones(ReportSection):
    """Zones by node and name, in their order."""

    __slots__ = ("_latest", "zones")
    first_bytes = b"ABCDEFGHIJKLMNOPQRSTUVWXYZl"
    has_words = True

    def __init__(self, draft: Draft) -> None:
        super().__init__(draft)
        self.zones: dict[tuple[int | None, str], Zone] = {}
        self._latest: tuple[int | None, str] | None = None

    def take(self, text: bytes, number: int) -> bool:
        """See ReportSection."""
        match = ZONE.match(text)
        if match is not None:
            node = None if match["node"] is None else int(match["node"])
            name = match["name"].decode()
            self._latest = (node, name)
            if self._latest not in self.zones and self.draft.has_room("zones", self.zones, bounds.ZONES):
                zone = self.zones[self._latest] = Zone(node, name, self.draft.fields(text), number)
                self.draft.at(zone.title, number, text)
                if b"all_unreclaimable? yes" in text:
                    self.draft.remarks["all_unreclaimable"] = None
            self.draft.section = "mem-info"
            return True
        return self._take_reserve(text)

    def _take_reserve(self, text: bytes) -> bool:
        match = RESERVE.match(text)
        if match is not None:
            pages = tuple(self.draft.number(word, text) or 0 for word in match["pages"].split())
            of = None if self._latest is None else self.zones.get(self._latest)
            if self._latest is not None and of is not None and not of.lowmem_reserve_pages:
                self.zones[self._latest] = replace(of, lowmem_reserve_pages=pages)
            return True
        return False
