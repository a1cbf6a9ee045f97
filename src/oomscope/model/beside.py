"""What small files of /proc tell of who holds memory, beside an OOM report or a dump."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SlabTotal:
    """A row of /proc/slabinfo: the pages of a cache's slabs, and how many of its objects are in use."""

    name: str
    pages: int
    active_objects: int
    objects: int


@dataclass(frozen=True, slots=True)
class VmallocCaller:
    """The areas of one caller in /proc/vmallocinfo: the pages that are mapped there."""

    caller: str
    module: str | None
    pages: int
    areas: int


@dataclass(frozen=True, slots=True)
class AllocSite:
    """A row of /proc/allocinfo. Slab pages count at alloc_slab_page, their objects at their callers too."""

    size_bytes: int
    calls: int
    place: str
    module: str | None
    function: str
