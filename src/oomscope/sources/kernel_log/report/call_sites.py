"""The greatest call sites of allocation profiling (mm/show_mem.c, lib/alloc_tag.c, 6.10 and later)."""

from __future__ import annotations

import re

from oomscope import bounds
from oomscope.model.oom_event import CallSite
from oomscope.sources.kernel_log.report.draft import Draft, ReportSection
from oomscope.text import printable

_SITES_TITLE = re.compile(rb"Memory allocations(?: \(profiling is currently turned (?P<state>on|off)\))?:")
_SITE = re.compile(
    rb"\s*+(?P<size>\d{1,19}(?:\.\d{1,3})?) ?(?P<unit>[kKMGTPEZY]?i?B)? ++(?P<calls>\d{1,15}) "
    rb"(?P<place>\S{1,200}:\d{1,7}) "
    rb"(?:\[(?P<module>[^\]]{1,64})\] )?func:(?P<function>\S{1,200})"
)
# lib/string_helpers.c string_get_size(), in both of its counts; K alone is the kernel's K() elsewhere.
_UNITS = {None: 1, b"B": 1, b"KB": 1 << 10, b"kB": 10**3}
_UNITS |= {b"%ciB" % letter: 1 << 10 * power for power, letter in enumerate(b"KMGTPEZY", 1)}
_UNITS |= {b"%cB" % letter: 10 ** (3 * power) for power, letter in enumerate(b"MGTPEZY", 2)}


class CallSites(ReportSection):
    """Call sites in their order."""

    __slots__ = ("sites",)
    first_bytes = b"0123456789M"

    def __init__(self, draft: Draft) -> None:
        super().__init__(draft)
        self.sites: list[CallSite] = []

    def take(self, text: bytes, number: int) -> bool:
        """See ReportSection."""
        title = _SITES_TITLE.match(text)
        if title is not None:
            self.draft.section = "sites"
            if title["state"] == b"off":
                self.draft.remarks["profiling off"] = None
            self.draft.at("Memory allocations", number, text)
            return True
        match = _SITE.match(text) if self.draft.section == "sites" else None
        if match is None:
            return False
        unit = _UNITS.get(match["unit"])
        if unit is None:
            self.draft.distrust(text)
            return True
        size_bytes = round(float(match["size"]) * unit)
        module = None if match["module"] is None else printable(match["module"])
        if not self.draft.has_room("call sites", self.sites, bounds.EVENT_ROWS):
            return True
        self.sites.append(
            CallSite(
                size_bytes, int(match["calls"]), printable(match["place"]), module, printable(match["function"]), number
            )
        )
        return True
