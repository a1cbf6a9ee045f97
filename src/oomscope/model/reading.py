"""What one input said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oomscope.model.account import Account
    from oomscope.model.census import Census
    from oomscope.model.counts import Counts
    from oomscope.model.free_area import FreeArea
    from oomscope.model.oom_event import Memcg, OomEvent
    from oomscope.model.slab_objects import CacheObjects
    from oomscope.model.stack import Stack
    from oomscope.model.unknown import Unknown


class Role(Enum):
    """What an input is good for, whatever its format.

    A DUMP has a record for each allocation, MEMORY is kernel memory itself, TRACKED the table of `oomscope arm
    --track`, STACK_COUNTS pages for each stack and no time, a LOG tells events, an ACCOUNT is a file of the kernel's
    own bookkeeping, a MANIFEST says what could not be collected.
    """

    DUMP = "dump"
    MEMORY = "memory"
    TRACKED = "tracked"
    STACK_COUNTS = "stack counts"
    LOG = "log"
    ACCOUNT = "account"
    MANIFEST = "manifest"

    @property
    def names_holders(self) -> bool:
        """Whether it can name who holds a machine's pages."""
        return self in (Role.DUMP, Role.MEMORY, Role.TRACKED, Role.STACK_COUNTS)


@dataclass(frozen=True, slots=True)
class Meminfo:
    """/proc/meminfo in bytes; a field is None where the file does not have it. `kib` is the whole file in kB.

    `page_bytes` is the page size where the input tells amounts in pages and in bytes.
    """

    total_bytes: int
    free_bytes: int | None
    hugepage_bytes: int | None
    kib: Mapping[str, int]
    page_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class ToldCulprit:
    """Who answers for `pages` over all of its `stacks`, as a dying kernel added them up: `function` of `module`."""

    function: str
    module: str | None
    pages: int
    stacks: int


@dataclass(frozen=True, slots=True)
class Sampled:
    """That one page of `stride` was looked at; None where the line that tells a number is lost.

    The greatest culprit's pages are right within `bound_pages` in 95 of 100; `is_surely_greatest` tells that no other
    one can be greater within these bounds.
    """

    stride: int | None = None
    bound_pages: int | None = None
    is_surely_greatest: bool = False


@dataclass(frozen=True, slots=True)
class PanicTotals:
    """The totals line of an at-panic report; a field is None where the line does not tell it.

    Where pages were tracked, `older_pages`, of those that are not counted, were allocated before `tracked_since_ns`, or
    lie in the `plugged_pages` of RAM that came since.
    """

    stacks: int
    pages: int
    ram_pages: int | None
    uncounted_pages: int | None
    tracked_since_ns: int | None = None
    older_pages: int | None = None
    plugged_pages: int = 0


@dataclass(frozen=True, slots=True)
class System:
    """What kernel memory tells of its machine.

    `ram_pages` are the managed pages; `taint` the letters of what taints the kernel; `vmstat` the kernel's own
    counters by the names of its enums; `panic_message` the first one of the log, None where there is none. `boot` is
    the same in dumps of one boot: where the kernel was placed.
    """

    arch: str | Unknown
    page_size_bytes: int
    ram_pages: int | None
    command_line: str | None
    taint: str
    modules: tuple[str, ...]
    last_unloaded_module: str | None
    panic_message: str | None
    vmstat: Mapping[str, int]
    is_live: bool
    boot: str


@dataclass(slots=True)
class ParseStats:
    """How reading went.

    `records` are the rows that were read, `corrupt_records` were too damaged to count, `unknown_lines` belong to no
    record. `cut_off` tells that the last record is not whole, `ranked_only` that columns other than stack, pages and
    blocks were left out. Of kernel memory, `unread_share` (0..1) could not be read. `left_out` counts what was beyond a
    bound, by what it is.
    """

    records: int = 0
    corrupt_records: int = 0
    unknown_lines: int = 0
    ranked_only: bool = False
    cut_off: bool = False
    unread_share: float = 0.0
    left_out: dict[str, int] = field(default_factory=dict)

    def leave_out(self, what: str, count: int = 1) -> None:
        """Count what is beyond a bound (oomscope/bounds.py): `what` in the plural, as people are told."""
        self.left_out[what] = self.left_out.get(what, 0) + count

    def add(self, other: ParseStats) -> None:
        """Take in how it went with another part of the same input."""
        self.records += other.records
        self.corrupt_records += other.corrupt_records
        self.unknown_lines += other.unknown_lines
        self.cut_off |= other.cut_off
        for what, count in other.left_out.items():
            self.leave_out(what, count)


@dataclass(slots=True)
class Accounts:
    """What the kernel's own bookkeeping says.

    `tables` are rows of who holds how much, `counters` are in pages by the names of /proc/vmstat, `free_blocks` are
    the free ones of each zone, `cache_objects` who holds slab objects, `memcg` a memory cgroup by its own files.
    `page_bytes` is the page size, where the numbers fit one only.
    """

    meminfo: Meminfo | None = None
    tables: tuple[Account, ...] = ()
    counters: Mapping[str, int] = field(default_factory=dict)
    free_blocks: tuple[FreeArea, ...] = ()
    cache_objects: tuple[CacheObjects, ...] = ()
    memcg: Memcg | None = None
    page_bytes: int | None = None


@dataclass(slots=True)
class LogFacts:
    """What a kernel log tells.

    `events` are its OOM events, in its order, `events_left_out` were too many to keep. `reports` counts the at-panic
    reports of greatest consumers (the last one is read), `totals` is that one's last line, `culprits` are its greatest
    ones, and `later_pages` are held by modules that were loaded after it was armed, so that helpers of theirs may be
    among them; culprits of `nameless_culprit_pages` were not added up; `stopped` tells that time was over before all
    was counted, `sampled` that its numbers are estimates. `panicked` tells that the kernel panicked, None where
    nothing tells.
    """

    panicked: bool | None = None
    events: tuple[OomEvent, ...] = ()
    events_left_out: int = 0
    reports: int = 0
    totals: PanicTotals | None = None
    culprits: tuple[ToldCulprit, ...] = ()
    later_pages: int = 0
    nameless_culprit_pages: int = 0
    stopped: bool = False
    sampled: Sampled | None = None


@dataclass(slots=True)
class Notes:
    """What a source learnt beside its rows: how reading went, accounts, a log's facts, and whose they are.

    `handles` name stacks by their depot handle. `at_ns` is when the evidence was taken, in nanoseconds since boot, if
    it says so; `tracked_since_ns`, where oomscope tracked pages itself, since when pages have a stack, and
    `missed_frees` how many events of pages being freed it missed, None where that is not known. `system` is what
    kernel memory tells of its machine; `absent` says what the input does not hold.
    """

    stats: ParseStats = field(default_factory=ParseStats)
    accounts: Accounts = field(default_factory=Accounts)
    log: LogFacts = field(default_factory=LogFacts)
    release: str | None = None
    system: System | None = None
    at_ns: int | None = None
    tracked_since_ns: int | None = None
    missed_frees: int | None = None
    handles: dict[int, Stack] = field(default_factory=dict)
    absent: tuple[Unknown, ...] = ()

    def add(self, other: Notes) -> None:
        """Take in what another worker learnt from another part of the same input."""
        self.stats.add(other.stats)
        self.handles.update(other.handles)


@dataclass(frozen=True, slots=True)
class Reading:
    """One input, read: `origin` names it for people, `format` and `role` say what it was, `defect` what stopped it.

    Of kernel memory, `census` says what every page frame is used for. A reading that counts the same pages as another
    one by its own nature (two counts within one dump) names that one's origin in `witness_of`. `earlier` is the first
    reading of the same account in the same text, where that holds several.
    """

    origin: str
    format: str
    role: Role
    notes: Notes
    counts: Counts | None = None
    defect: str | None = None
    census: Census | None = None
    witness_of: str | None = None
    earlier: Reading | None = None

    @property
    def has_counts(self) -> bool:
        """Whether it counts pages: by rows, by a census, or by culprits that a dying kernel added up."""
        counted = self.notes.stats.records or self.census is not None or self.notes.log.culprits
        return self.counts is not None and bool(counted)

    @property
    def handles(self) -> Mapping[int, Stack]:
        """Stacks by depot handle."""
        return self.notes.handles
