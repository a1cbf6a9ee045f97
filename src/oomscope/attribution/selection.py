"""Which rows are asked for: the filters of the command line, as tests on the values of a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oomscope.attribution.culprit import attribute, module_name
from oomscope.attribution.gfp import flags_in

if TYPE_CHECKING:
    from oomscope.model.batch import Batch, Place, Request, Task
    from oomscope.model.stack import Stack


@dataclass(frozen=True, slots=True)
class Selection:
    """Filters that all must hold; an empty one holds for everything.

    `gfp_flags` asks for requests that carry all the flags named (or have the mask, written 0x...);
    `since_ns`/`until_ns` bound the allocation time [since, until] in nanoseconds since boot; `modules` names the
    culprit's module, `vmlinux` for built-in code.
    """

    pids: frozenset[int] = frozenset()
    tgids: frozenset[int] = frozenset()
    comms: frozenset[str] = frozenset()
    modules: frozenset[str] = frozenset()
    gfp_flags: frozenset[str] = frozenset()
    orders: frozenset[int] = frozenset()
    nodes: frozenset[int] = frozenset()
    kinds: frozenset[str] = frozenset()
    since_ns: int | None = None
    until_ns: int | None = None

    @property
    def asks_of_records(self) -> tuple[str, ...]:
        """The filters that need what only page_owner's records tell, by their names on the command line."""
        named = {
            "--pid": self.pids,
            "--tgid": self.tgids,
            "--comm": self.comms,
            "--gfp": self.gfp_flags,
            "--order": self.orders,
            "--node": self.nodes,
            "--since": self.since_ns is not None,
            "--until": self.until_ns is not None,
        }
        return tuple(name for name, asked in named.items() if asked)

    @property
    def asks_of_stacks(self) -> bool:
        """Whether stacks are left out by what they are."""
        return bool(self.modules or self.kinds)

    @property
    def is_empty(self) -> bool:
        """Whether everything is asked for."""
        return not self.asks_of_records and not self.asks_of_stacks

    @property
    def bounds_time(self) -> bool:
        """Whether rows without an allocation time have to be left out."""
        return self.since_ns is not None or self.until_ns is not None

    def asks_beyond(self, rows: Batch) -> bool:
        """Whether a filter asks for what these rows do not tell: then none of them can be kept."""
        return (
            (bool(self.gfp_flags or self.orders) and rows.request is None)
            or (bool(self.pids or self.tgids or self.comms) and rows.task is None)
            or (bool(self.nodes) and rows.place is None)
            or (self.bounds_time and rows.allocated_ns is None)
        )

    def keeps_stack(self, stack: Stack) -> bool:
        """Whether the stack's kind and its culprit's module are asked for."""
        if not self.asks_of_stacks:
            return True
        attributed = attribute(stack)
        if self.kinds and attributed.kind not in self.kinds:
            return False
        return not self.modules or module_name(attributed.culprit) in self.modules

    def keeps_request(self, request: Request) -> bool:
        """Whether order and gfp flags are asked for."""
        if self.orders and request.order not in self.orders:
            return False
        return self.gfp_flags <= flags_in(request.gfp_flags) | {f"{request.gfp_mask:#x}"}

    def keeps_task(self, task: Task) -> bool:
        """Whether pid, tgid and comm are asked for."""
        return (
            (not self.pids or task.pid in self.pids)
            and (not self.tgids or task.tgid in self.tgids)
            and (not self.comms or task.comm in self.comms)
        )

    def keeps_place(self, place: Place) -> bool:
        """Whether the node is asked for."""
        return not self.nodes or place.node in self.nodes
