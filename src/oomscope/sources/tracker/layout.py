"""The table of owners that `oomscope arm --track` keeps in the kernel: its maps (bpf/owners_layout.h), decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

from oomscope.numeric import np

if TYPE_CHECKING:
    import numpy.typing as npt


FRAMES = 16
BLOCK_PAGES = 1 << 15
LEFT_OUT, TABLE_FULL, NO_STACK, FIRST_SLOT = 1, 2, 3, 4
_FINE_STEPS, _COARSE = 1 << 15, 1 << 8
LAST_STEP = (1 << 16) - 1

_STATE = (
    ("since_ns", "<u8"),
    ("since_jiffies", "<u8"),
    ("step_ns", "<u8"),
    ("clock_ns", "<u8"),
    ("clock_jiffies", "<u8"),
    ("vmemmap", "<u8"),
    ("ready", "<u4"),
    ("step_shift", "<u4"),
    ("own_frames", "<u4", (3,)),
    ("reserved", "<u4"),
    ("ram_pages", "<u8"),
)
_STACK = (("hash", "<u8"), ("first_ns", "<u8"), ("frames", "<u8"), ("frame", "<u8", (FRAMES,)))


@cache
def state_dtype() -> np.dtype[np.void]:
    """Struct owner_state."""
    return np.dtype(list(_STATE))


@cache
def stack_dtype() -> np.dtype[np.void]:
    """Struct owned_stack."""
    return np.dtype(list(_STACK))


COUNTERS = (
    "allocated_pages",
    "freed_pages",
    "healed_pages",
    "unowned_frees",
    "moved_pages",
    "untracked_pages",
    "stacks",
    "without_stack",
    "beyond_stacks",
    "collisions",
    "slot_races",
)

Words: TypeAlias = "npt.NDArray[np.uint32]"
Integers: TypeAlias = "npt.NDArray[np.int64]"


@dataclass(frozen=True, slots=True)
class OwnerCounters:
    """What the programs counted since tracking began, of all processors: see bpf/owners_layout.h."""

    allocated_pages: int
    freed_pages: int
    healed_pages: int
    unowned_frees: int
    moved_pages: int
    untracked_pages: int
    stacks: int
    without_stack: int
    beyond_stacks: int
    collisions: int
    slot_races: int

    @property
    def owned_pages(self) -> int:
        """How many entries of the table must be set, by these counters alone."""
        return self.allocated_pages - self.freed_pages - self.healed_pages


def counters(raw: bytes) -> OwnerCounters:
    """The sum over all programs and processors; `raw` is what each has counted, one behind the other."""
    each = np.frombuffer(raw, "<u8").reshape(-1, len(COUNTERS))
    return OwnerCounters(**dict(zip(COUNTERS, (int(sum_) for sum_ in each.sum(axis=0)), strict=True)))


@dataclass(frozen=True, slots=True)
class PageOwners:
    """One reading of the table: `stacks` has a row per slot, `places` 1 + the block of 32,768 pages, or 0.

    `block` gives the entries of one. `since_ns` and `at_ns` are CLOCK_MONOTONIC, when tracking began and when it was
    read; `step_ns` is how exact times are. `kept` are the pages of each slot as the programs count them while they
    come and go, in shards, shape (shards, slots): one alone may be below 0. `missed_frees` are events of pages being
    freed that the kernel passed over, None where that is not told.
    """

    since_ns: int
    at_ns: int
    step_ns: int
    stacks: np.ndarray[tuple[int, ...], np.dtype[np.void]]
    places: npt.NDArray[np.uint64]
    block: Callable[[int], Words]
    counters: OwnerCounters
    kept: Integers
    missed_frees: int | None = None

    def pages_by_slot(self) -> Integers:
        """Pages of each slot, by a walk over all entries."""
        found = np.zeros(len(self.stacks), np.int64)
        for block in self.blocks():
            found += np.bincount((block[block != 0] >> np.uint32(16)).astype(np.int64), minlength=len(found))
        return found

    def blocks(self) -> Iterator[Words]:
        """All entries, a block at a time."""
        return (self.block(place - 1) for place in self.places.tolist() if place)

    def entries(self, start_pfn: int, pages: int) -> Words:
        """The entries of neighbours; 0 where the table does not reach."""
        found = np.zeros(pages, np.uint32)
        for number in range(start_pfn // BLOCK_PAGES, (start_pfn + pages - 1) // BLOCK_PAGES + 1):
            place = int(self.places[number]) if number < len(self.places) else 0
            if place:
                first, last = max(start_pfn, number * BLOCK_PAGES), min(start_pfn + pages, (number + 1) * BLOCK_PAGES)
                held = self.block(place - 1)[first % BLOCK_PAGES : first % BLOCK_PAGES + last - first]
                found[first - start_pfn : last - start_pfn] = held
        return found

    def allocated_ns(self, steps: npt.NDArray[np.integer]) -> Integers:
        """About when, in nanoseconds since boot: exact to a step, from step 32,768 on to 256 of them."""
        steps = steps.astype(np.int64)
        coarse = steps > _FINE_STEPS
        steps[coarse] += (steps[coarse] - _FINE_STEPS) * (_COARSE - 1)
        return (steps * self.step_ns + self.since_ns).astype(np.int64)
