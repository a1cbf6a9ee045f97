"""Two counts against each other: what a culprit held earlier, and where a witness differs."""

from __future__ import annotations

from dataclasses import dataclass

from oomscope.attribution.culprit import attribute
from oomscope.attribution.holdings import culprits, holdings
from oomscope.attribution.witness_matching import by_stack, unlisted
from oomscope.model.counts import Counts
from oomscope.model.holding import Culprit
from oomscope.model.stack import Stack

PAGES = "pages"
ALLOCATIONS = "allocations"
# How long before its newest record a dump may have been begun: a stack first met in this last part of it may be
# younger than the witness. The capture of a 512 MiB machine takes a second or two under emulation.
_YOUNG_NS = 3 * 10**9


def pages_by_stack(counts: Counts) -> dict[Stack, int]:
    """Pages per stack; empty where the evidence does not count pages."""
    return {} if counts.pages is None else by_stack(counts.stacks, counts.pages)


def pages_by_culprit(counts: Counts) -> dict[Culprit, int]:
    """Pages per culprit."""
    return {row.culprit: row.pages for row in culprits(holdings(counts))}


@dataclass(frozen=True, slots=True)
class StackDifference:
    """One stack's difference, and why: `early`, `dummy`, `failure`, `unlisted`, `lost`, `young`, `moved` or `freed`."""

    reason: str
    stack: Stack
    difference: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Ours and theirs in `unit`, and the stacks that differ, the largest difference first."""

    unit: str
    ours: int
    theirs: int
    differences: tuple[StackDifference, ...]

    def total_of(self, reason: str) -> int:
        """The part of the difference that has this reason."""
        return sum(d.difference for d in self.differences if d.reason == reason)


def compare(ours: Counts, theirs: Counts, *, listed_only: bool = False) -> Comparison | None:
    """Two counts of the same pages, stack by stack; None where they count nothing in common.

    With `listed_only`, theirs is a list of the greatest: of ours, only the stacks that it names are compared.
    """
    if ours.pages is not None and theirs.pages is not None:
        unit, our_sums, their_sums = PAGES, pages_by_stack(ours), pages_by_stack(theirs)
    elif ours.blocks is not None and theirs.blocks is not None:
        unit = ALLOCATIONS
        our_sums, their_sums = by_stack(ours.stacks, ours.blocks), by_stack(theirs.stacks, theirs.blocks)
    else:
        return None
    if listed_only:
        our_sums = {stack: pages for stack, pages in our_sums.items() if stack in their_sums}
    newest_ns = int(ours.last_ns.max(initial=0)) if ours.stacks else 0
    first_ns = by_stack(ours.stacks, ours.first_ns)
    left_out = unlisted(ours, their_sums)
    found = []
    for stack in our_sums.keys() | their_sums.keys():
        difference = our_sums.get(stack, 0) - their_sums.get(stack, 0)
        if difference:
            is_young = newest_ns - first_ns.get(stack, 0) <= _YOUNG_NS
            reason = _reason(stack, difference, in_witness=stack in their_sums, is_young=is_young)
            if reason in ("lost", "young") and stack in left_out:
                reason = "unlisted"
            found.append(StackDifference(reason, stack, difference))
    found.sort(key=lambda d: (-abs(d.difference), d.stack.texts))
    return Comparison(unit, sum(our_sums.values()), sum(their_sums.values()), tuple(found))


def _reason(stack: Stack, difference: int, *, in_witness: bool, is_young: bool) -> str:
    label = attribute(stack).label
    if label is not None and not in_witness:
        return label
    if difference < 0:
        return "freed"
    if in_witness:
        return "moved"
    return "young" if is_young else "lost"
