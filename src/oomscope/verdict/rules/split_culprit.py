"""A culprit that reaches the allocator over many stacks: no single stack shows how much it holds."""

from __future__ import annotations

from oomscope.model.holding import SLAB
from oomscope.model.ranked import Consumer, CulpritRow
from oomscope.model.verdict import CERTAIN, LIKELY, POSSIBLE, Finding
from oomscope.units import share_text
from oomscope.verdict.rules.case import MOST, RuleCase

# Spread over paths, a culprit is worth a claim of its own when its stacks together hold this much more than its first.
_MORE_THAN_ONE_STACK = 1.1


def rule(case: RuleCase) -> tuple[Finding, ...]:
    """Claims the greatest culprit where rolling up changes what the greatest stack says."""
    if not case.culprits:
        return ()
    first = case.culprits[0]
    greatest = next((c for c in case.consumers if c.holding.culprit is not None), None)
    if first.stacks < 2 or (greatest is not None and first.pages < _MORE_THAN_ONE_STACK * greatest.pages):
        return ()
    share = "" if first.share_of_ram is None else f", {share_text(first.share_of_ram)} of RAM"
    amount = f"{case.size(first.pages)}{share} over {first.stacks:,} stacks"
    if case.is_told_in_part(first):
        amount = f"at least {case.size(first.pages)}{share}, by the {first.stacks:,} of its stacks that were printed"
    return (
        Finding(
            claim=f"{first.culprit} holds {amount}",
            pages=first.pages,
            certainty=_certainty(case, first),
            because=_because(case, first, greatest),
            refuted_by="a frame of these stacks that is a helper and not the one who asked (attribution/frames.tsv)",
            next=_next(case, first),
        ),
    )


def _certainty(case: RuleCase, row: CulpritRow) -> str:
    log = case.evidence.latest.reading.notes.log
    if log.sampled is not None:
        return LIKELY if log.sampled.is_surely_greatest else POSSIBLE
    if (
        case.is_told_in_part(row)
        or log.stopped
        or log.nameless_culprit_pages
        or log.later_pages
        or (log.culprits and not case.selection.is_empty)
    ):
        return LIKELY
    return LIKELY if _may_be_slab(case, row) and not _objects_agree(case, row) else CERTAIN


def _because(case: RuleCase, row: CulpritRow, greatest: Consumer | None) -> tuple[str, ...]:
    stacks = f"{row.stacks:,} stacks whose first frame beyond allocator and helpers is {row.culprit}"
    if case.facts.told_culprits and not case.is_told_in_part(row):
        stacks += ", as the dying kernel added them up"
    parts = [stacks]
    if greatest is not None:
        parts.append(
            f"its greatest single stack is not the whole: the greatest of all holds {case.size(greatest.pages)}"
        )
    return tuple(parts)


def _next(case: RuleCase, row: CulpritRow) -> str:
    if sum(c.holding.culprit == row.culprit for c in case.consumers) < row.stacks:
        return (
            "--by culprit ranks them; a core dump of that moment shows all the paths, and `oomscope arm --top 16` more"
        )
    return "--by culprit ranks them all; --by stack with --module shows the paths"


def _may_be_slab(case: RuleCase, row: CulpritRow) -> bool:
    """Whether a tenth or more of what a culprit holds is slab, or may be: who holds its objects may be another."""
    its_own = [c for c in case.consumers if c.holding.culprit == row.culprit and c.holding.kind != SLAB]
    return 10 * sum(c.pages for c in its_own) <= 9 * row.pages


def _objects_agree(case: RuleCase, row: CulpritRow) -> bool:
    """Whether who grew the slabs holds their objects, too."""
    stacks = [c.holding.stack for c in case.consumers if c.holding.culprit == row.culprit and c.holding.kind == SLAB]
    truth = case.slab_ownership(stacks)
    return truth is not None and truth.owner == row.culprit and truth.held > MOST * truth.objects
