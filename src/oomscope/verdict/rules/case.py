"""What a rule may look at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from oomscope.attribution.facts import Facts
from oomscope.attribution.holdings import culprit_of
from oomscope.attribution.selection import Selection
from oomscope.attribution.slab_owners import SlabOwnership, slab_ownership
from oomscope.attribution.witness_matching import total_pages
from oomscope.model.balance import Balance
from oomscope.model.evidence import Evidence
from oomscope.model.holding import Culprit, Holding
from oomscope.model.ranked import Consumer, CulpritRow
from oomscope.model.stack import Stack
from oomscope.model.unknown import Unknown
from oomscope.model.verdict import WitnessReport
from oomscope.units import size_text
from oomscope.verdict.oom.case import OomCase

MOST = 0.9  # who holds this share of a cache's objects holds the cache


@dataclass(frozen=True, slots=True)
class RuleCase:
    """The facts, and what has been ranked of them; `event` is the OOM event that is explained."""

    facts: Facts
    selection: Selection
    consumers: tuple[Consumer, ...]
    excepted: tuple[Consumer, ...]
    culprits: tuple[CulpritRow, ...]
    most_allocations: tuple[Holding, ...]
    witnesses: tuple[WitnessReport, ...]
    event: OomCase | None = None

    @property
    def evidence(self) -> Evidence:
        """What was read."""
        return self.facts.evidence

    @property
    def release(self) -> str | None:
        """The kernel's, where it is known."""
        release = self.facts.evidence.kernel.release
        return None if isinstance(release, Unknown) else release

    def size(self, pages: int) -> str:
        """`137.0 MiB (35,072 pages)`; see units.size_text."""
        page_bytes = self.evidence.kernel.page_size_bytes
        return size_text(pages, None if isinstance(page_bytes, Unknown) else page_bytes)

    @property
    def balance(self) -> Balance | None:
        """Every page of RAM in a row; see Facts."""
        return self.facts.balance

    @property
    def counted_stacks(self) -> int:
        """The stacks that this moment's evidence counts, named or not; see Verdict."""
        totals = self.evidence.latest.totals if self.selection.is_empty else None
        return len(self.facts.holdings) if totals is None else totals.stacks

    @property
    def counted_pages(self) -> int | None:
        """Their pages."""
        latest = self.evidence.latest
        totals = latest.totals if self.selection.is_empty else None
        return total_pages(latest.counts) if totals is None else totals.pages

    def is_told_in_part(self, row: CulpritRow) -> bool:
        """Whether the stacks of a culprit are the printed ones of a dying kernel, and the sum over all is not told."""
        latest = self.evidence.latest
        if not latest.is_panic_report or latest.totals is None or latest.totals.stacks <= len(self.consumers):
            return False
        return row.stacks > 1 and all(culprit_of(told) != row.culprit for told in self.facts.told_culprits)

    @property
    def is_of_accounts(self) -> bool:
        """Whether the kernel's own accounts are all there is: neither stacks nor a census nor an OOM report."""
        latest = self.evidence.latest
        return not latest.counts.stacks and latest.reading.census is None and self.event is None

    def slab_ownership(self, stacks: Iterable[Stack]) -> SlabOwnership | None:
        """Who holds the objects in the slabs that these stacks grew, where the evidence tells."""
        reading = self.evidence.latest.reading
        return slab_ownership(stacks, reading.census, reading.notes.accounts.cache_objects)


def where_command(stack: tuple[str, ...], culprit: Culprit | None) -> str:
    """The command that turns a culprit's frame into a source line."""
    frame = next((f for f in stack if culprit is not None and f.split("+")[0].startswith(culprit.function)), None)
    if frame is None:
        return "read the stack from its first frame outwards"
    image = "vmlinux" if culprit is None or culprit.module is None else f"{culprit.module}.ko"
    return f"find the line: scripts/faddr2line {image} {frame.split(' ')[0]}"
