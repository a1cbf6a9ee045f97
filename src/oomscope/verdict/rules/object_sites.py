"""Whether who grew a slab cache also holds its objects, by the call sites of /proc/allocinfo."""

from __future__ import annotations

from oomscope.model.account import CALL_SITE
from oomscope.model.holding import SLAB
from oomscope.model.unknown import Unknown
from oomscope.model.verdict import CERTAIN, LIKELY, Finding
from oomscope.units import bytes_text, pages_text
from oomscope.verdict.rules.case import MOST, RuleCase

_ENOUGH_TO_NAME = 0.05  # of RAM
_SLAB_PAGES = ("alloc_slab_page", "allocate_slab", "new_slab")


def rule(case: RuleCase) -> tuple[Finding, ...]:
    """Claims that the greatest slab culprit holds what it grew, or that another call site does."""
    row = next((row for row in case.culprits if SLAB in row.kinds), None)
    sites = [site for site in case.facts.accounts.of(CALL_SITE) if site.name not in _SLAB_PAGES]
    page_bytes = case.evidence.kernel.page_size_bytes
    if row is None or (row.share_of_ram or 0) < _ENOUGH_TO_NAME or not sites or isinstance(page_bytes, Unknown):
        return ()
    own = [s for s in sites if (s.name, s.module) == (row.culprit.function, row.culprit.module)]
    held = sum(site.amount for site in own)
    holds = held >= MOST * MOST * row.pages * page_bytes  # slabs are never quite full of objects
    grown = f"slabs of {pages_text(row.pages)} were grown through {row.culprit}"
    told = f"allocation profiling counts {bytes_text(held)} of objects at its call sites"
    largest = sites[0]
    return (
        Finding(
            claim=f"{row.culprit} holds what it grew: {bytes_text(held)} of objects"
            if holds
            else f"{row.culprit} grew the slabs and holds {bytes_text(held)} of objects in them;"
            f" the call site that holds most is {largest}, {bytes_text(largest.amount)}",
            pages=row.pages if holds else None,
            certainty=CERTAIN if holds else LIKELY,
            because=(grown, told),
            refuted_by="an allocinfo of another moment",
            next=f"find what keeps objects of {row.culprit if holds else largest} from being freed",
        ),
    )
