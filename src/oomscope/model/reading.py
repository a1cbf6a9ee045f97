"""What one input said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oomscope.model.counts import Counts
    from oomscope.model.stack import Stack


@dataclass(frozen=True, slots=True)
class Meminfo:
    """/proc/meminfo in bytes; a field is None where the file does not have it."""

    total_bytes: int
    free_bytes: int | None
    hugepage_bytes: int | None
    direct_map_4k: bool


@dataclass(frozen=True, slots=True)
class PanicTotals:
    """The totals line of an at-panic report; a field is None where the line does not tell it."""

    stacks: int
    pages: int
    ram_pages: int | None
    uncounted_pages: int | None


@dataclass(slots=True)
class Notes:
    """What a source learnt beside its rows.

    `records` are the rows that were read, `spoilt_records` were too damaged to count, `unknown_lines` belong to no
    record. `handles` name stacks by their depot handle. `at_ns` is when the evidence was taken, in nanoseconds since
    boot, if the text says so; `reports` counts at-panic reports in a log (the last one is read).
    """

    records: int = 0
    spoilt_records: int = 0
    unknown_lines: int = 0
    at_ns: int | None = None
    release: str | None = None
    meminfo: Meminfo | None = None
    panicked: bool | None = None
    oom_report: bool = False
    reports: int = 0
    totals: PanicTotals | None = None
    ranked_only: bool = False
    cut_off: bool = False
    handles: dict[int, Stack] = field(default_factory=dict)

    def add(self, other: Notes) -> None:
        """Take in what another worker learnt from another part of the same input."""
        self.records += other.records
        self.spoilt_records += other.spoilt_records
        self.unknown_lines += other.unknown_lines
        self.cut_off |= other.cut_off
        self.handles.update(other.handles)


@dataclass(frozen=True, slots=True)
class Reading:
    """One input, read: `origin` names it for people, `format` says what it was, `defect` what stopped the reading."""

    origin: str
    format: str
    notes: Notes
    counts: Counts | None
    defect: str | None = None

    @property
    def handles(self) -> Mapping[int, Stack]:
        """Stacks by depot handle."""
        return self.notes.handles
