"""Who holds the objects in the slabs that a stack grew: what makes a slab culprit more than likely, or refutes it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from oomscope.attribution.culprit import attribute
from oomscope.model.census import Census
from oomscope.model.holding import Culprit
from oomscope.model.slab_objects import CacheObjects
from oomscope.model.stack import Stack


@dataclass(frozen=True, slots=True)
class SlabOwnership:
    """The cache that most of some slab pages belong to: `pages` of them, and who holds most of its objects.

    `held` of `objects` (those whose owner is on record) are `owner`'s.
    """

    cache: str
    by: str
    pages: int
    objects: int
    owner: Culprit
    held: int


def slab_ownership(
    stacks: Iterable[Stack], census: Census | None, cache_objects: Iterable[CacheObjects]
) -> SlabOwnership | None:
    """Of the slab pages that these stacks grew; None where the kernel does not keep who holds their objects."""
    if census is None:
        return None
    grown = set(stacks)
    pages_of = {
        cache: sum(pages for stack, pages in by_stack.items() if stack in grown)
        for cache, by_stack in census.slab_stacks.items()
    }
    objects_of = {each.cache: each for each in cache_objects}
    told = [(pages, cache) for cache, pages in pages_of.items() if pages and cache in objects_of]
    if not told:
        return None
    pages, cache = max(told)
    if 2 * pages < sum(pages_of.values()):
        return None  # no cache stands for these pages
    objects = objects_of[cache]
    held: dict[Culprit, int] = {}
    for stack, count in objects.owners:
        culprit = attribute(stack).culprit
        if culprit is not None:
            held[culprit] = held.get(culprit, 0) + count
    if not held:
        return None
    owner = max(held, key=lambda culprit: (held[culprit], str(culprit)))
    return SlabOwnership(cache, objects.by, pages, sum(count for _, count in objects.owners), owner, held[owner])
