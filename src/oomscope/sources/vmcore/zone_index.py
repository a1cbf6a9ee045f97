"""The NUMA node and zone of a page, from where the zones lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from oomscope.model.batch import Column, Place, Tables
from oomscope.sources.vmcore.counters import zones

if TYPE_CHECKING:
    from oomscope.sources.vmcore.dump import Dump


class ZoneIndex:
    """Places by PFN. Where zones of two nodes overlap, the place of the pages between them is not known."""

    def __init__(self, dump: Dump, tables: Tables) -> None:
        spans = []
        for node, number, zone in zones(dump):
            start = int(zone.zone_start_pfn)
            spans.append((start, start + int(zone.spanned_pages), Place(node, number)))
        edges = sorted({edge for start, stop, _ in spans for edge in (start, stop)})
        self._edges = np.array(edges, np.int64)
        unknown = len(tables.places)
        tables.places.append(Place(None, None))
        of_edge = []
        for edge in edges:
            here = [place for start, stop, place in spans if start <= edge < stop]
            if len(here) != 1:
                of_edge.append(unknown)
                continue
            if here[0] not in tables.places:
                tables.places.append(here[0])
            of_edge.append(tables.places.index(here[0]))
        self._of_edge = np.array([unknown, *of_edge], np.int64)

    def of(self, pfn: Column) -> Column:
        """The index in `tables.places` of every PFN."""
        return self._of_edge[np.searchsorted(self._edges, pfn, side="right")]
