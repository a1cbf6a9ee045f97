"""Who holds the objects of the greatest slab cache: the pages' stacks only tell who grew it."""

from __future__ import annotations

from oomscope.model.holding import SLAB
from oomscope.model.verdict import CERTAIN, Finding
from oomscope.units import pages_text, share_text
from oomscope.verdict.rules.case import RuleCase

_ENOUGH_TO_NAME = 0.05  # of RAM


def rule(case: RuleCase) -> tuple[Finding, ...]:
    """Claims the owner of most objects in the slabs that the greatest slab culprit grew."""
    row = next((row for row in case.culprits if SLAB in row.kinds), None)
    if row is None or (row.share_of_ram or 0) < _ENOUGH_TO_NAME:
        return ()
    stacks = [c.holding.stack for c in case.consumers if c.holding.culprit == row.culprit and c.holding.kind == SLAB]
    truth = case.slab_ownership(stacks)
    if truth is None:
        return ()
    grower = "" if truth.owner == row.culprit else f"; its slabs were grown through {row.culprit}"
    return (
        Finding(
            claim=f"{truth.owner} holds {truth.held:,} of {truth.objects:,} objects of {truth.cache} "
            f"({share_text(truth.held / truth.objects)}){grower}",
            pages=truth.pages,
            certainty=CERTAIN,
            because=(
                f"{truth.by}: each object's owner is on record",
                f"{pages_text(truth.pages)} of slabs that {row.culprit} grew are of {truth.cache}",
            ),
            refuted_by="nothing short of a damaged dump: the kernel kept it object by object",
            next=f"find what keeps objects of {truth.owner} from being freed",
        ),
    )
