"""What other files of the machine say of memory that an OOM report cannot name: call sites, vmalloc, slab caches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from oomscope.attribution.culprit import attribute
from oomscope.model.beside import AllocSite, SlabTotal, VmallocCaller
from oomscope.model.evidence import Evidence
from oomscope.model.holding import Culprit
from oomscope.model.slab_objects import CacheObjects

Row = TypeVar("Row")
_PARTS = 10
# Call sites that take pages for what a report counts in a row of its own.
_COUNTED = ("slab", "folio", "filemap", "readahead", "ractl", "shmem", "anon", "pte_alloc", "dup_task", "thread_stack")


@dataclass(frozen=True, slots=True)
class Beside:
    """The fullest reading of each kind: the one that was taken nearest to the end."""

    slab_caches: tuple[SlabTotal, ...]
    vmalloc_callers: tuple[VmallocCaller, ...]
    alloc_sites: tuple[AllocSite, ...]
    cache_objects: tuple[CacheObjects, ...]

    @property
    def vmalloc_pages(self) -> int:
        """All pages mapped by vmalloc."""
        return sum(caller.pages for caller in self.vmalloc_callers)

    def owners_of(self, cache: str) -> tuple[Culprit, int, int] | None:
        """Who holds most objects of a cache, how many, and of how many; None where no file tells.

        A file whose folder is not known serves where it is the only one.
        """
        told = [each for each in self.cache_objects if each.cache == cache]
        if not told and len(self.cache_objects) == 1 and not self.cache_objects[0].cache:
            told = list(self.cache_objects)
        held: dict[Culprit, int] = {}
        for stack, count in told[0].owners if told else ():
            culprit = attribute(stack).culprit
            if culprit is not None:
                held[culprit] = held.get(culprit, 0) + count
        if not held:
            return None
        owner = max(held, key=lambda each: held[each])
        return owner, held[owner], told[0].objects

    def parts_of_slab(self) -> tuple[tuple[str, int], ...]:
        """The largest caches, in pages."""
        return tuple((cache.name, cache.pages) for cache in self.slab_caches[:_PARTS] if cache.pages)

    def parts_of_the_rest(self, page_bytes: int | None) -> tuple[tuple[str, int], ...]:
        """Who took pages that the report counts nowhere: by call site, else what vmalloc mapped."""
        if self.alloc_sites and page_bytes is not None:
            sites = [site for site in self.alloc_sites if not any(word in site.function for word in _COUNTED)]
            named = [(_name(site.function, site.module), site.size_bytes // page_bytes) for site in sites]
            return tuple((name, pages) for name, pages in named[:_PARTS] if pages)
        return tuple((_name(c.caller, c.module), c.pages) for c in self.vmalloc_callers[:_PARTS] if c.pages)


def beside(evidence: Evidence) -> Beside:
    """What the evidence has of such files."""
    readings = evidence.readings
    return Beside(
        slab_caches=_fullest([(sum(c.pages for c in r.notes.slab_totals), r.notes.slab_totals) for r in readings]),
        vmalloc_callers=_fullest(
            [(sum(c.pages for c in r.notes.vmalloc_callers), r.notes.vmalloc_callers) for r in readings]
        ),
        cache_objects=tuple(
            objects for r in readings for objects in r.notes.cache_objects if r.format == "alloc_traces"
        ),
        alloc_sites=_fullest([(sum(s.size_bytes for s in r.notes.alloc_sites), r.notes.alloc_sites) for r in readings]),
    )


def _fullest(found: list[tuple[int, tuple[Row, ...]]]) -> tuple[Row, ...]:
    return max(found, key=lambda pair: pair[0], default=(0, ()))[1]


def _name(function: str, module: str | None) -> str:
    return function if module is None else f"{function} [{module}]"
