"""Who holds slab objects: the stack on a slab's pages only tells who grew the cache (mm/slub.c, lib/alloc_tag.c).

Two places may tell: allocation profiling's tag of each object (slabobj_ext, 6.10 and later), and the tracks behind each
object of a cache with SLAB_STORE_USER (slub_debug=U).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import drgn
import numpy as np
import numpy.typing as npt

from oomscope.model.slab_objects import BY_PROFILING, BY_TRACKS, CacheObjects
from oomscope.model.stack import Frame, Stack
from oomscope.model.unknown import Unknown
from oomscope.sources.vmcore.linear_map import linear_offset
from oomscope.text import printable

if TYPE_CHECKING:
    from oomscope.sources.vmcore.dump import Dump
    from oomscope.sources.vmcore.stack_depot import StackDepot
    from oomscope.sources.vmcore.symbolize import Symbolizer

Words = npt.NDArray[np.uint64]
_OBJEXTS_FLAGS = 0x7  # low bits of slab->obj_exts
_MOST_OBJECTS = 1 << 15
_STORE_USER = 0x00010000  # SLAB_STORE_USER up to 6.8
_CODETAG_EMPTY = 1
_STACK_WORDS = 16  # TRACK_ADDRS_COUNT


@dataclass(frozen=True, slots=True)
class Slabs:
    """The slabs of a machine in columns: first PFN, address of the cache, objects in use and in all, and two words."""

    pfn: npt.NDArray[np.int64]
    cache: Words
    inuse: npt.NDArray[np.int64]
    objects: npt.NDArray[np.int64]
    obj_exts: Words
    freelist: Words


class SlabOwners:
    """Adds nothing up but objects of one cache, which are one structure in the kernel's own eyes."""

    def __init__(self, dump: Dump, names: Symbolizer, depot: StackDepot | None) -> None:
        self._dump = dump
        self._names = names
        self._depot = depot
        self._cache_type = dump.prog.type("struct kmem_cache")

    def of(self, slabs: Slabs) -> Iterator[CacheObjects]:
        """Every cache whose objects have owners on record, the one with most slabs first."""
        caches, counts = np.unique(slabs.cache, return_counts=True)
        for address in caches[np.argsort(-counts, kind="stable")].tolist():
            here = slabs.cache == np.uint64(address)
            cache = drgn.Object(self._dump.prog, self._cache_type, address=address)
            try:
                name = printable(cache.name.string_()[:64])
                objects = int(slabs.inuse[here].sum())
                if self._has_tracks(cache):
                    yield self._with_tracks(cache, name, objects, slabs, np.flatnonzero(here))
                elif (slabs.obj_exts[here] & ~np.uint64(_OBJEXTS_FLAGS)).any() and self._has_tags():
                    yield self._with_tags(name, objects, slabs, np.flatnonzero(here))
            except (drgn.FaultError, LookupError, ValueError, OverflowError, MemoryError) as error:
                reason = f"a cache's description or its objects cannot be read: {error}"
                self._dump.damage.append(Unknown("who holds the objects of a slab cache", reason))

    def _has_tags(self) -> bool:
        return self._dump.offset("struct slabobj_ext", "ref") is not None

    def _with_tags(self, name: str, objects: int, slabs: Slabs, rows: npt.NDArray[np.int64]) -> CacheObjects:
        """A vector beside each slab holds one slabobj_ext per object, whose tag is empty while the object is free."""
        size = (self._dump.size("struct slabobj_ext") or 16) // 8
        at = (self._dump.offset("struct slabobj_ext", "ref") or 8) // 8
        tags: list[Words] = []
        for row in rows.tolist():
            vector = int(slabs.obj_exts[row]) & ~_OBJEXTS_FLAGS
            count = min(int(slabs.objects[row]), _MOST_OBJECTS)
            if vector:
                tags.append(self._dump.words_at(vector, count * size)[at::size])
        found, counts = np.unique(np.concatenate(tags), return_counts=True)
        owners = [
            (self._tag(address), int(count))
            for address, count in zip(found.tolist(), counts.tolist(), strict=True)
            if address > _CODETAG_EMPTY
        ]
        return CacheObjects(name, BY_PROFILING, objects, _ranked(owners))

    def _tag(self, address: int) -> Stack:
        """The function that a tag stands in (struct codetag)."""
        tag = drgn.Object(self._dump.prog, "struct codetag", address=address)
        function = self._dump.text_at(tag.function.value_(), 128)
        module = self._dump.text_at(tag.modname.value_(), 64) if tag.modname else None
        source = f"{self._dump.text_at(tag.filename.value_(), 256)}:{int(tag.lineno)}"
        text = printable((function if not module else f"{function} [{module}]").encode())
        return Stack((Frame(text, printable(function.encode()), module=module or None, source=source),))

    def _has_tracks(self, cache: drgn.Object) -> bool:
        bit = self._dump.constant("_SLAB_STORE_USER")
        return bool(int(cache.flags) & (_STORE_USER if bit is None else 1 << bit))

    def _with_tracks(
        self, cache: drgn.Object, name: str, objects: int, slabs: Slabs, rows: npt.NDArray[np.int64]
    ) -> CacheObjects:
        """Behind each object lies who allocated it (struct track); free ones are on the slab's free list."""
        size, red_left = int(cache.size), int(cache.red_left_pad) if cache.type_.has_member("red_left_pad") else 0
        free_at, inuse_end = int(cache.offset), int(cache.inuse)
        track_at = inuse_end + 8 if free_at >= inuse_end else inuse_end
        handle_at = self._dump.offset("struct track", "handle")
        address_at = self._dump.offset("struct track", "addr") or 0
        stack_at = self._dump.offset("struct track", "addrs")
        linear = linear_offset(self._dump)
        whose: dict[tuple[int, ...], int] = {}
        for row in rows.tolist():
            count = min(int(slabs.objects[row]), _MOST_OBJECTS)
            start = int(slabs.pfn[row]) * self._dump.page_size_bytes + linear
            raw = self._dump.bytes_at(start, count * size).reshape(count, size)
            used = np.ones(count, np.bool_)
            if int(slabs.inuse[row]) < count:
                free = self._free(cache, int(slabs.freelist[row]), count)
                places = [(address - start - red_left) // size for address in free]
                used[[place for place in places if 0 <= place < count]] = False
            # Of all used objects at once: the depot's handle (5.19 and later), the caller's address, and before that
            # the addresses of the stack itself, as many as there were, then zeros.
            tracks = raw[used, red_left + track_at :]
            columns = [np.zeros((len(tracks), 1), np.uint64), _words(tracks, address_at, 1)]
            if handle_at is not None:
                handle = np.ascontiguousarray(tracks[:, handle_at : handle_at + 4]).view(np.uint32)
                columns[0] = handle.astype(np.uint64)
            elif stack_at is not None:
                columns.append(_words(tracks, stack_at, _STACK_WORDS))
            found, counts = np.unique(np.hstack(columns), axis=0, return_counts=True)
            for key, held in zip(map(tuple, found.tolist()), counts.tolist(), strict=True):
                whose[key] = whose.get(key, 0) + held
        by_stack: dict[Stack, int] = {}
        for (handle_of, address_of, *addresses), held in whose.items():
            if address_of:
                stack = self._track(handle_of, address_of, [each for each in addresses if each])
                by_stack[stack] = by_stack.get(stack, 0) + held
        return CacheObjects(name, BY_TRACKS, objects, _ranked(list(by_stack.items())))

    def _track(self, handle: int, address: int, stack: list[int]) -> Stack:
        if handle and self._depot is not None and self._depot.return_addresses(handle):
            return self._names.stack(self._depot, handle)
        return Stack(tuple(self._names.frame(each) for each in stack or [address]))

    def _free(self, cache: drgn.Object, first: int, most: int) -> list[int]:
        """The free list of a slab: each free object holds the next one's address, obfuscated where hardened."""
        found: list[int] = []
        secret = int(cache.random) if cache.type_.has_member("random") else 0
        free_at = int(cache.offset)
        address = first
        while address and len(found) < most:
            found.append(address)
            place = address + free_at
            stored = int(self._dump.words_at(place, 1)[0])
            swapped = int.from_bytes(place.to_bytes(8, "little"), "big") if secret else 0
            address = stored ^ secret ^ swapped
        return found


def _words(tracks: npt.NDArray[np.uint8], at: int, count: int) -> Words:
    """So many words of each track, shape (tracks, count)."""
    return np.ascontiguousarray(tracks[:, at : at + 8 * count]).view(np.uint64).reshape(len(tracks), count)


def _ranked(owners: list[tuple[Stack, int]]) -> tuple[tuple[Stack, int], ...]:
    return tuple(sorted(owners, key=lambda owner: (-owner[1], owner[0].texts)))
