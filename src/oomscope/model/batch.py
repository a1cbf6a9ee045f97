"""How evidence travels: tables of distinct values, and integer columns that point into them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from oomscope.numeric import np

if TYPE_CHECKING:
    import numpy.typing as npt

    from oomscope.model.stack import Stack

Column: TypeAlias = "npt.NDArray[np.int64]"
Mask: TypeAlias = "npt.NDArray[np.bool_]"
OPTIONAL_COLUMNS = ("pages", "blocks", "request", "task", "place", "memcg", "allocated_ns")


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked of the page allocator. `gfp_flags` are the kernel's names, "" for mask 0x0()."""

    order: int
    gfp_mask: int
    gfp_flags: str


@dataclass(frozen=True, slots=True)
class Task:
    """Who asked: None where the kernel's format does not tell (before 5.11 pid, before 5.18 tgid and comm)."""

    pid: int | None
    tgid: int | None
    comm: str | None


@dataclass(frozen=True, slots=True)
class Place:
    """NUMA node and zone index from the page flags; None where the flags text does not carry them."""

    node: int | None
    zone: int | None


@dataclass(slots=True)
class Tables:
    """The distinct values seen so far; they only grow, so an index once given stays valid."""

    stacks: list[Stack] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    memcgs: list[str | None] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Batch:
    """Some holdings, one row each: `stack[i]` holds `pages[i]` base pages in `blocks[i]` allocations.

    All columns are int64 of one length. `stack`, `request`, `task`, `place` and `memcg` are indices into `tables`. A
    column that this kind of evidence does not have is None; `allocated_ns` is nanoseconds since boot
    (local_clock() of the allocating CPU).
    """

    tables: Tables
    stack: Column
    pages: Column | None = None
    blocks: Column | None = None
    request: Column | None = None
    task: Column | None = None
    place: Column | None = None
    memcg: Column | None = None
    allocated_ns: Column | None = None

    def kept(self, keep: Mask) -> Batch:
        """The rows where `keep` is true."""
        columns = {name: None if (column := getattr(self, name)) is None else column[keep] for name in OPTIONAL_COLUMNS}
        return Batch(tables=self.tables, stack=self.stack[keep], **columns)
