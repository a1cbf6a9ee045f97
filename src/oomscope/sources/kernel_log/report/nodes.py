"""Nodes: their fields in kB (mm/show_mem.c show_free_areas(), 4.8 and later)."""

from __future__ import annotations

import re

from oomscope import bounds
from oomscope.model.oom_event import Node
from oomscope.sources.kernel_log.report.draft import Draft, ReportSection

NODE = re.compile(rb"Node (?P<node>\d{1,4}) active_anon: *\d")


class Nodes(ReportSection):
    """Nodes by their number."""

    __slots__ = ("nodes",)
    first_bytes = b"N"
    has_words = True

    def __init__(self, draft: Draft) -> None:
        super().__init__(draft)
        self.nodes: dict[int, Node] = {}

    def take(self, text: bytes, number: int) -> bool:
        """See ReportSection."""
        match = NODE.match(text)
        if match is None:
            return False
        node = int(match["node"])
        if node not in self.nodes and self.draft.has_room("nodes", self.nodes, bounds.ZONES):
            self.nodes[node] = Node(node, self.draft.fields(text), number)
            self.draft.at(f"Node {int(match['node'])}", number, text)
        return True
