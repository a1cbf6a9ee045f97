"""The free lists of a zone by order: `DMA: 1*4kB (U) 0*8kB ... = 15860kB` (mm/show_mem.c show_free_areas())."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

from oomscope import bounds
from oomscope.model.oom_event import FreeBlocks, Zone
from oomscope.sources.kernel_log.report.draft import Draft, ReportSection

FREE_LISTS = re.compile(rb"(?:Node (?P<node>\d{1,4}) )?(?P<name>[A-Z][A-Za-z0-9]{1,15}): *(?=\d{1,12}\*\d)")
_BLOCKS = re.compile(rb"(?P<count>\d{1,12})\*(?P<size>\d{1,9}(?: \d{1,4})?) ?kB(?: \((?P<types>[A-Z]{1,8})\))?")
_LISTED = re.compile(rb"= (?P<total>\d{1,15})kB")


class FreeLists(ReportSection):
    """Adds its blocks to the zone that they are of, which may have no line of its own."""

    __slots__ = ("_zones",)
    first_bytes = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    has_words = True

    def __init__(self, draft: Draft, zones: dict[tuple[int | None, str], Zone]) -> None:
        super().__init__(draft)
        self._zones = zones

    def take(self, text: bytes, number: int) -> bool:
        """See ReportSection."""
        match = FREE_LISTS.match(text)
        if match is None:
            return False
        node = None if match["node"] is None else int(match["node"])
        name = match["name"].decode()
        blocks = tuple(
            FreeBlocks(
                int(block["count"]),
                int(block["size"].replace(b" ", b"")),
                None if block["types"] is None else block["types"].decode(),
            )
            for block in itertools.islice(_BLOCKS.finditer(text, match.end()), bounds.EVENT_NAMES)
        )
        total = _LISTED.search(text)
        listed = {} if total is None else {"on free lists": int(total["total"])}
        known = self._zones.get((node, name))
        if known is None and self.draft.has_room("zones", self._zones, bounds.ZONES):
            self._zones[node, name] = Zone(node, name, listed, number, blocks=blocks)
        elif known is not None and known.blocks is None:
            self._zones[node, name] = replace(known, blocks=blocks)
        self.draft.at(f"free lists of {name if node is None else f'Node {node} {name}'}", number, text)
        return True
