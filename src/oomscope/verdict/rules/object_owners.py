"""Who holds the objects of the largest slab cache, by /sys/kernel/debug/slab/CACHE/alloc_traces."""

from __future__ import annotations

from oomscope.model.account import SLAB_CACHE
from oomscope.model.verdict import CERTAIN, LIKELY, Finding
from oomscope.units import share_text
from oomscope.verdict.rules.case import RuleCase


def rule(case: RuleCase) -> tuple[Finding, ...]:
    """Claims the owner of most objects, where the kernel has kept it object by object."""
    accounts = case.facts.accounts
    if not accounts.cache_objects:
        return ()
    named = {objects.cache for objects in accounts.cache_objects if objects.cache}
    largest = next((cache.name for cache in accounts.of(SLAB_CACHE) if not named or cache.name in named), None)
    cache = largest or next(iter(named), "")
    told = accounts.owners_of(cache)
    if told is None:
        return ()
    owner, held, objects = told
    of = f"of {cache}" if cache in named else "in the file of a cache whose name is not told"
    return (
        Finding(
            claim=f"{owner} holds {held:,} of {objects:,} objects {of} ({share_text(held / objects)})",
            pages=None,
            certainty=CERTAIN if cache in named else LIKELY,
            because=("alloc_traces: slub_debug keeps who allocated each object",),
            refuted_by="another cache with more pages, whose owners were not collected",
            next=f"find what keeps objects of {owner} from being freed",
        ),
    )
