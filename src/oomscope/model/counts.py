"""The sums over one reading: pages and blocks per stack, and how they split over tasks, orders, nodes and time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from oomscope.model.batch import Column, Place, Request, Task
    from oomscope.model.stack import Stack

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Split(Generic[Value]):
    """How pages split over one property (task, request, place, memcg).

    Per value, shape (V,): `pages`, `blocks`, `stacks` (how many share it), `first_ns` and `last_ns` (valid where
    `timed_blocks` is not 0); these are exact. Per stack and value, shape (K,) sorted by stack: `pair_stack`,
    `pair_value`, `pair_pages`, `pair_blocks`; where `pruned`, each stack keeps only its largest values and the
    `stacks` column is a lower bound.
    """

    values: tuple[Value, ...]
    pages: Column
    blocks: Column
    stacks: Column
    timed_blocks: Column
    first_ns: Column
    last_ns: Column
    pair_stack: Column
    pair_value: Column
    pair_pages: Column
    pair_blocks: Column
    pruned: bool


@dataclass(frozen=True, slots=True)
class Ages:
    """Pages by allocation time: `pages[s, i]` of stack s were allocated in [i, i + 1) * `bin_ns` since boot."""

    bin_ns: int
    pages: Column


@dataclass(frozen=True, slots=True)
class Counts:
    """The sums of one reading, shape (S,) per column; a column is None where the evidence does not tell it.

    `timed_pages` are the pages whose allocation time is known; `first_ns`/`last_ns` are valid where it is not 0.
    `untold_rows_left_out` counts rows that had to be left out because they do not tell what a filter asks of.
    `newest_ns` is the newest allocation time of all rows, also of those that filters leave out: about when the evidence
    was taken.
    """

    stacks: tuple[Stack, ...]
    pages: Column | None
    blocks: Column | None
    timed_pages: Column
    first_ns: Column
    last_ns: Column
    ages: Ages
    requests: Split[Request]
    tasks: Split[Task]
    places: Split[Place]
    memcgs: Split[str | None]
    rows: int
    untold_rows_left_out: int
    newest_ns: int | None
