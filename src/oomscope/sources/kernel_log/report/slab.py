"""The table of unreclaimable slab caches (mm/slab_common.c dump_unreclaimable_slab())."""

from __future__ import annotations

import re

from oomscope import bounds
from oomscope.model.oom_event import SlabCache
from oomscope.sources.kernel_log.report.draft import Draft, ReportSection
from oomscope.text import printable

TITLE = re.compile(rb"Unreclaimable slab info:")
_SLAB_HEAD = re.compile(rb"Name +Used +Total")
ROW = re.compile(rb"(?P<name>\S.{0,60}?) {1,60}(?P<used>\d{1,15})KB {1,60}(?P<total>\d{1,15})KB\s*$")


class Slab(ReportSection):
    """Caches in their order."""

    __slots__ = ("caches",)

    def __init__(self, draft: Draft) -> None:
        super().__init__(draft)
        self.caches: list[SlabCache] = []

    def take(self, text: bytes, number: int) -> bool:
        """See ReportSection."""
        if self.draft.section != "slab" and not text.startswith(b"U") and not text.endswith(b"KB"):
            return False
        if TITLE.match(text) is not None:
            self.draft.section = "slab"
            self.draft.at("Unreclaimable slab info", number, text)
            return True
        if _SLAB_HEAD.match(text) is not None:
            return True
        match = ROW.match(text)
        if match is None:
            return False
        self.draft.section = "slab"  # the title may be lost
        used, total = self.draft.number(match["used"], text), self.draft.number(match["total"], text)
        if (
            used is not None
            and total is not None
            and self.draft.has_room("slab caches", self.caches, bounds.EVENT_ROWS)
        ):
            self.caches.append(SlabCache(printable(match["name"]), used, total, number))
        return True
