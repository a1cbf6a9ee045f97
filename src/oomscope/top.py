"""The live machine, read again and again: who holds memory, and who takes more of it.

The cheapest account that this machine offers is read: show_stacks (a line for each stack), else /proc/allocinfo (a line
for each call site), else kernel memory (every page frame).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from oomscope.attribution.change import pages_by_culprit, pages_by_stack
from oomscope.attribution.culprit import name_of
from oomscope.errors import NoAccess, NotOffered, OomscopeError
from oomscope.machine import Machine
from oomscope.model.board import Board, BoardRow
from oomscope.model.evidence import Evidence
from oomscope.model.ledger import BYTES, CALL_SITE, PAGES
from oomscope.pipeline import read

SHOW_STACKS = "/sys/kernel/debug/page_owner_stacks/show_stacks"
ALLOCINFO = "/proc/allocinfo"
KERNEL_MEMORY = "kernel memory"
FOLDS = ("culprit", "stack")
SORTS = ("amount", "change", "rate", "name")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")  # it is always this machine's memory


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One reading: amounts by name, folded to culprits and by stack (or call site)."""

    at_s: float
    took_s: float
    by: Mapping[str, Mapping[str, int]]


@dataclass
class Watch:
    """Readings of one machine; `clock` tells seconds."""

    machine: Machine
    clock: Callable[[], float] = time.monotonic
    source: str = ""
    _read: Callable[[], Mapping[str, Mapping[str, int]]] = field(init=False, repr=False)
    _snapshots: list[Snapshot] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        self.source = self.source or cheapest(self.machine)
        readers = {SHOW_STACKS: self._stacks, ALLOCINFO: self._call_sites, KERNEL_MEMORY: self._pages}
        self._read = readers[self.source]

    @property
    def unit(self) -> str:
        """What amounts are in."""
        return BYTES if self.source == ALLOCINFO else PAGES

    def tick(self) -> None:
        """Read once more. Raises OomscopeError where that is no longer possible."""
        started = self.clock()
        by = self._read()
        # The first reading is what changes are counted from, the one before what rates are.
        self._snapshots = [*self._snapshots[:1], *self._snapshots[-1:], Snapshot(started, self.clock() - started, by)]

    def start_again(self) -> None:
        """Count changes from the latest reading on."""
        self._snapshots = self._snapshots[-1:]

    def board(self, *, fold: str, sort: str) -> Board:
        """The latest reading against the first one and the one before it."""
        first, before, latest = self._snapshots[0], self._snapshots[-2:][0], self._snapshots[-1]
        now, then, began = latest.by[fold], before.by[fold], first.by[fold]
        apart_s = latest.at_s - before.at_s
        ram_bytes = self.machine.ram_bytes
        ram = None if not ram_bytes else ram_bytes if self.unit == BYTES else ram_bytes // _PAGE_BYTES
        rows = [
            BoardRow(
                name=name,
                amount=now.get(name, 0),
                change=now.get(name, 0) - began.get(name, 0),
                per_s=(now.get(name, 0) - then.get(name, 0)) / apart_s if apart_s > 0 else 0.0,
                share_of_ram=None if ram is None else now.get(name, 0) / ram,
            )
            for name in {**began, **now}
        ]
        keys: dict[str, Callable[[BoardRow], tuple[float, str]]] = {
            "amount": lambda row: (-row.amount, row.name),
            "change": lambda row: (-row.change, row.name),
            "rate": lambda row: (-row.per_s, row.name),
            "name": lambda row: (0, row.name),
        }
        total = sum(now.values())
        return Board(
            source=self.source,
            unit=self.unit,
            fold=fold,
            sort=sort,
            since_s=latest.at_s - first.at_s,
            took_s=latest.took_s,
            total=total,
            total_change=total - sum(began.values()),
            rows=tuple(sorted(rows, key=keys[sort])),
        )

    def _stacks(self) -> Mapping[str, Mapping[str, int]]:
        return _by_stack(read(self.machine.path(SHOW_STACKS), page_size_bytes=_PAGE_BYTES))

    def _pages(self) -> Mapping[str, Mapping[str, int]]:
        return _by_stack(read(live=True))

    def _call_sites(self) -> Mapping[str, Mapping[str, int]]:
        evidence = read(self.machine.path(ALLOCINFO))
        ledgers = [each for r in evidence.readings for each in r.notes.ledgers if each.kind == CALL_SITE]
        told = [entry for each in ledgers for entry in each.entries]
        by_function: dict[str, int] = {}
        by_place: dict[str, int] = {}
        for entry in told:
            by_function[str(entry)] = by_function.get(str(entry), 0) + entry.amount
            by_place[f"{entry} {entry.place}"] = entry.amount
        return {"culprit": by_function, "stack": by_place}


def cheapest(machine: Machine) -> str:
    """The account that costs least to read here. Raises NotOffered or NoAccess where there is none."""
    for path in (SHOW_STACKS, ALLOCINFO):
        try:
            # Opened, and not read: see kernel_files.
            with machine.path(path).open("rb", buffering=0) as file:
                if path == SHOW_STACKS or file.read(1):
                    return path
        except OSError:
            continue
    if not machine.is_root:
        raise NoAccess("only root may read who holds memory", advice="sudo oomscope top")
    try:
        read(live=True)
    except OomscopeError as error:
        raise NotOffered(
            f"nothing here tells who holds memory: no {SHOW_STACKS}, no {ALLOCINFO}, and {error}",
            advice="boot with page_owner=on, or sysctl vm.mem_profiling=1 where the kernel has it",
        ) from error
    return KERNEL_MEMORY


def _by_stack(evidence: Evidence) -> Mapping[str, Mapping[str, int]]:
    """Pages by culprit (what has none by what it is), and by stack (the same with its innermost own frames)."""
    counts = evidence.latest.counts
    by_culprit = {str(culprit): pages for culprit, pages in pages_by_culprit(counts).items()}
    by_stack: dict[str, int] = {}
    for stack, pages in pages_by_stack(counts).items():
        name = name_of(stack)
        if name.startswith("("):
            by_culprit[name] = by_culprit.get(name, 0) + pages
        path = " < ".join(frame.function for frame in stack.frames) or name
        by_stack[path] = by_stack.get(path, 0) + pages
    return {"culprit": by_culprit, "stack": by_stack}
