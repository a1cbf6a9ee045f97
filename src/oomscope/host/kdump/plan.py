"""The plan of a kernel build: what types and symbols say, and which frames never answer for memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oomscope.attribution.culprit import is_allocator
from oomscope.attribution.frame_rules import frame_rows
from oomscope.sources.vmcore.crash_plan import plan_of

if TYPE_CHECKING:
    from oomscope.sources.vmcore.dump import Dump


def plan(dump: Dump) -> dict[str, object]:
    """All that crash_reader/plan.py reads. Raises NoAccess where the reader cannot read such a kernel."""
    rows = [(row.role, row.kind, row.pattern, is_allocator(row)) for row in frame_rows()]
    return {**plan_of(dump), "roles": rows}
