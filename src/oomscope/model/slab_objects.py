"""Who holds the objects of slab caches, where the kernel keeps that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oomscope.model.stack import Stack

BY_PROFILING = "allocation profiling"
BY_TRACKS = "slub_debug"
BY_TRACE = "SLUB TRACE"  # of objects that were allocated, and not freed, while the cache was traced


@dataclass(frozen=True, slots=True)
class CacheObjects:
    """One cache: `objects` are in use, of which `owners` hold so many each (a stack; of a tag, the one function).

    `by` says how the kernel kept it. Objects without an owner on record are in none of `owners`.
    """

    cache: str
    by: str
    objects: int
    owners: tuple[tuple[Stack, int], ...]
