"""What other files of the machine say of memory that an OOM report cannot name: call sites, vmalloc, slab caches."""

from __future__ import annotations

from dataclasses import dataclass, replace

from oomscope.attribution.culprit import attribute
from oomscope.model.account import CALL_SITE, KINDS, PAGES, SLAB_CACHE, VMALLOC_CALLER, Account, Entry
from oomscope.model.evidence import Evidence
from oomscope.model.holding import Culprit
from oomscope.model.reading import Role
from oomscope.model.slab_objects import CacheObjects

_PARTS = 10
# Call sites that take pages for what a report counts in a row of its own.
_COUNTED = ("slab", "folio", "filemap", "readahead", "ractl", "shmem", "anon", "pte_alloc", "dup_task", "thread_stack")


@dataclass(frozen=True, slots=True)
class SideAccounts:
    """The fullest account of each kind, which is the one that was taken nearest to the end, in the order of KINDS."""

    accounts: tuple[Account, ...]
    cache_objects: tuple[CacheObjects, ...]

    def of(self, kind: str) -> tuple[Entry, ...]:
        """The entries of a kind, the largest first."""
        return next((each.entries for each in self.accounts if each.kind == kind), ())

    @property
    def vmalloc_pages(self) -> int:
        """All pages mapped by vmalloc."""
        return sum(caller.amount for caller in self.of(VMALLOC_CALLER))

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
        in_pages = any(each.kind == SLAB_CACHE and each.unit == PAGES for each in self.accounts)
        return tuple((cache.name, cache.amount) for cache in self.of(SLAB_CACHE)[:_PARTS] if in_pages)

    def parts_of_the_rest(self, page_bytes: int | None) -> tuple[tuple[str, int], ...]:
        """Who took pages that the report counts nowhere: by call site, else what vmalloc mapped."""
        if self.of(CALL_SITE) and page_bytes is not None:
            sites = [site for site in self.of(CALL_SITE) if not any(word in site.name for word in _COUNTED)]
            named = [(str(site), site.amount // page_bytes) for site in sites]
            return tuple((name, pages) for name, pages in named[:_PARTS] if pages)
        return tuple((str(caller), caller.amount) for caller in self.of(VMALLOC_CALLER)[:_PARTS])


def side_accounts(evidence: Evidence) -> SideAccounts:
    """What the evidence has of such files."""
    readings = evidence.readings
    found = [each for reading in readings for each in reading.notes.accounts.tables]
    of_kinds = ([each for each in found if each.kind == kind] for kind in KINDS)
    return SideAccounts(
        accounts=tuple(_named(max(told, key=lambda each: each.total)) for told in of_kinds if told),
        cache_objects=tuple(
            objects for r in readings for objects in r.notes.accounts.cache_objects if r.role is Role.ACCOUNT
        ),
    )


def _named(told: Account) -> Account:
    """Entries that are known by their stack alone take the name of who answers for it, and are added up by that."""
    if all(entry.stack is None for entry in told.entries):
        return told
    amounts: dict[tuple[str, str | None], list[Entry]] = {}
    for entry in told.entries:
        culprit = None if entry.stack is None else attribute(entry.stack).culprit
        key = (entry.name, entry.module) if culprit is None else (culprit.function, culprit.module)
        amounts.setdefault(key, []).append(entry)
    named = [
        Entry(name, sum(e.amount for e in same), sum(e.count for e in same), module, "", same[0].stack)
        for (name, module), same in amounts.items()
    ]
    return replace(told, entries=tuple(sorted(named, key=lambda entry: -entry.amount)))
