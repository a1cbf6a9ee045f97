"""A verdict's stacks in the formats of other tools: one format, one file. Nothing is worked out here."""

from __future__ import annotations

from collections.abc import Callable

from oomscope.export import folded, pprof, speedscope, tables
from oomscope.model.verdict import Verdict

# Each gives the whole file.
EXPORTS: dict[str, Callable[[Verdict], bytes]] = {
    "folded": folded.export,
    "speedscope": speedscope.export,
    "pprof": pprof.export,
    "parquet": tables.parquet,
    "csv": tables.csv,
}

__all__ = ["EXPORTS"]
