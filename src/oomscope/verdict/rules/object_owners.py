"""Who holds the objects of the largest slab cache, by /sys/kernel/debug/slab/CACHE/alloc_traces."""

from __future__ import annotations

import re

from oomscope.model.account import SLAB_CACHE
from oomscope.model.slab_objects import BY_TRACE, CacheObjects
from oomscope.model.verdict import CERTAIN, LIKELY, Finding
from oomscope.units import share_text
from oomscope.verdict.rules.case import RuleCase

_KMALLOC = re.compile(r"kmalloc-(?:\w+-)*(?P<size>\d{1,4})(?P<kilo>k?)$")


def _bytes_by_name(objects: CacheObjects) -> int:
    """What a kmalloc cache's objects take, by the size in its name; of another cache only their number is known."""
    match = _KMALLOC.match(objects.cache)
    return objects.objects * (int(match["size"]) * (1024 if match["kilo"] else 1) if match else 1)


def rule(case: RuleCase) -> tuple[Finding, ...]:
    """Claims the owner of most objects, where the kernel has kept it object by object."""
    accounts = case.facts.accounts
    if not accounts.cache_objects:
        return ()
    named = {objects.cache for objects in accounts.cache_objects if objects.cache}
    largest = next((cache.name for cache in accounts.of(SLAB_CACHE) if not named or cache.name in named), None)
    by_size = max((each for each in accounts.cache_objects if each.cache), key=_bytes_by_name, default=None)
    cache = largest or ("" if by_size is None else by_size.cache)
    told = accounts.owners_of(cache)
    if told is None:
        return ()
    owner, held, objects = told
    of = f"of {cache}" if cache in named else "in the file of a cache without a name"
    is_traced = any(each.cache == cache and each.by == BY_TRACE for each in accounts.cache_objects)
    return (
        Finding(
            claim=f"{owner} holds {held:,} of {objects:,} objects {of} ({share_text(held / objects)})",
            pages=None,
            certainty=CERTAIN if cache in named and not is_traced else LIKELY,
            because=(
                "SLUB TRACE: they were allocated, and not freed, while the cache was traced"
                if is_traced
                else "alloc_traces: slub_debug keeps who allocated each object",
            ),
            refuted_by="another cache with more pages, whose owners were not collected",
            next=f"find what keeps objects of {owner} from being freed",
        ),
    )
