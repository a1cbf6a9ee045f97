"""What the evidence means: the ranked answer, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oomscope.model.account import Account
    from oomscope.model.answer import Answer
    from oomscope.model.balance import Balance
    from oomscope.model.free_area import FreeArea
    from oomscope.model.holding import Group, Holding
    from oomscope.model.kernel import Kernel
    from oomscope.model.oom_analysis import OomAnalysis
    from oomscope.model.ranked import Consumer, CulpritRow
    from oomscope.model.reading import System
    from oomscope.model.slab_objects import CacheObjects
    from oomscope.model.unknown import Unknown

CERTAIN = "certain"
LIKELY = "likely"
POSSIBLE = "possible"


@dataclass(frozen=True, slots=True)
class WitnessDifference:
    """One named part of the difference between two counts of the same pages: ours minus the witness's.

    `reason` is attribution.change's word for it, `name` a sentence for people. `amount` is in the report's unit;
    `stacks` names the stacks it comes from, the largest first.
    """

    reason: str
    name: str
    amount: int
    stacks: str


@dataclass(frozen=True, slots=True)
class WitnessReport:
    """A second count of the same pages. `unit` is `pages` or `allocations`; the parts add up to the difference."""

    origin: str
    witness_of: str
    unit: str
    ours: int
    theirs: int
    parts: tuple[WitnessDifference, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """One claim: its pages, how sure it is, the evidence it rests on, what would refute it, and what to do next."""

    claim: str
    pages: int | None
    certainty: str
    because: tuple[str, ...]
    refuted_by: str
    next: str


@dataclass(frozen=True, slots=True)
class EventLine:
    """One OOM event of a log in a line: its number (from 1), where it begins, its class, and what happened."""

    number: int
    origin: str
    line: int
    at_ns: int | None
    stamp: str | None
    oom_class: str
    certainty: str
    text: str


@dataclass(frozen=True, slots=True)
class Oom:
    """The OOM event, as far as the evidence shows it.

    `oom_class` says why the request failed, with `certainty`; `also` what else is so, the greatest holder first.
    `story` is the first paragraph, a sentence each; `next` what to do. `analysis` is the report added up, None where
    there was no report and only at-panic lines or a dump tell that it was an OOM. `number` counts the events of the log
    from 1.
    """

    oom_class: str
    also: tuple[str, ...]
    panic: bool | None
    certainty: str | None = None
    story: tuple[str, ...] = ()
    next: str = ""
    analysis: OomAnalysis | None = None
    origin: str | None = None
    number: int | None = None


@dataclass(frozen=True, slots=True)
class InputSummary:
    """One input as it was read."""

    origin: str
    format: str
    records: int
    corrupt_records: int
    unknown_lines: int
    defect: str | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who ate it: the answer, and all that it rests on.

    `consumers` are all stacks that may be named, most pages first; `excepted` are the early, dummy and failure stacks,
    listed as what they are. `counted_pages` over `counted_stacks` are all that this moment's evidence counts, named or
    not. `at_ns` is the moment explained. `groups` is set where a grouping was asked for. `most_allocations` ranks by
    allocations where the evidence does not count pages. Of kernel memory, `system` tells of the machine and
    `cache_objects` who holds slab objects. `accounts` and `free_blocks` are the kernel's own accounts in other files.
    """

    answer: Answer
    partial: bool
    kernel: Kernel
    at_ns: int | None
    source: str
    oom: Oom | None
    greatest: Consumer | None
    greatest_kernel: Consumer | None
    consumers: tuple[Consumer, ...]
    most_allocations: tuple[Holding, ...]
    excepted: tuple[Consumer, ...]
    culprits: tuple[CulpritRow, ...]
    counted_pages: int | None
    counted_stacks: int
    ram_pages: int | None
    balance: Balance | None
    witnesses: tuple[WitnessReport, ...]
    findings: tuple[Finding, ...]
    absent: tuple[Unknown, ...]
    inputs: tuple[InputSummary, ...]
    system: System | None
    cache_objects: tuple[CacheObjects, ...]
    accounts: tuple[Account, ...]
    free_blocks: tuple[FreeArea, ...]
    selection_note: str | None
    groups_by: str | None
    groups: tuple[Group, ...]
    events: tuple[EventLine, ...] = ()
