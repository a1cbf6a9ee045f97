"""The live machine, read again and again: who holds memory, and who takes more of it.

The cheapest account that this machine offers is read: show_stacks (a line for each stack), else /proc/allocinfo (a line
for each call site), else kernel memory (every page frame).
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from oomscope.attribution.culprit import attribute
from oomscope.attribution.snapshot import (
    Ages,
    Amounts,
    Sample,
    ages_of_stacks,
    amounts_of_sites,
    amounts_of_stacks,
    snapshot,
)
from oomscope.errors import NoAccess, NothingToExplain, NotOffered, OomscopeError
from oomscope.host.bpf import arm
from oomscope.host.facts import Machine, PageOwnerState
from oomscope.model.account import BYTES, CALL_SITE, PAGES
from oomscope.model.snapshot import Snapshot
from oomscope.pipeline.api import read
from oomscope.pipeline.memory import read_tracked

SHOW_STACKS = "/sys/kernel/debug/page_owner_stacks/show_stacks"
ALLOCINFO = "/proc/allocinfo"
KERNEL_MEMORY = "kernel memory"
TRACKED = "tracked pages"
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")  # it is always this machine's memory


@dataclass
class Watch:
    """Readings of one machine; `clock` tells seconds."""

    machine: Machine
    clock: Callable[[], float] = time.monotonic
    source: str = ""
    _read: Callable[[], Amounts] = field(init=False, repr=False)
    _snapshots: list[Sample] = field(default_factory=list, repr=False)
    _ages: Ages = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.source = self.source or cheapest(self.machine)
        readers = {
            TRACKED: self._tracked,
            SHOW_STACKS: self._stacks,
            ALLOCINFO: self._call_sites,
            KERNEL_MEMORY: self._pages,
        }
        self._read = readers[self.source]

    @property
    def unit(self) -> str:
        """What amounts are in."""
        return BYTES if self.source == ALLOCINFO else PAGES

    def tick(self) -> None:
        """Read once more. Raises OomscopeError where that is no longer possible."""
        attribute.cache_clear()
        gc.collect()  # nothing of the reading before is left, whatever it referred to
        started = self.clock()
        self._ages = {}
        by = self._read()
        # The first reading is what changes are counted from, the one before what rates are.
        self._snapshots = [
            *self._snapshots[:1],
            *self._snapshots[-1:],
            Sample(started, self.clock() - started, by, self._ages),
        ]

    def start_again(self) -> None:
        """Count changes from the latest reading on."""
        self._snapshots = self._snapshots[-1:]

    def snapshot(self, *, group_by: str, sort: str) -> Snapshot:
        """The latest reading against the first one and the one before it."""
        ram_bytes = self.machine.ram_bytes
        ram = None if not ram_bytes else ram_bytes if self.unit == BYTES else ram_bytes // _PAGE_BYTES
        first, before, latest = self._snapshots[0], self._snapshots[-2:][0], self._snapshots[-1]
        return snapshot(
            first, before, latest, source=self.source, unit=self.unit, ram=ram, group_by=group_by, sort=sort
        )

    def _tracked(self) -> Amounts:
        (reading,) = read_tracked(self.machine) or (None,)
        if reading is None or reading.counts is None:
            raise NothingToExplain("nothing tracks pages any more", advice="oomscope arm --track")
        self._ages = ages_of_stacks(reading.counts, reading.notes.at_ns or 0)
        return amounts_of_stacks(reading.counts)

    def _stacks(self) -> Amounts:
        evidence = read(self.machine.path(SHOW_STACKS), page_size_bytes=_PAGE_BYTES)
        return amounts_of_stacks(evidence.latest.counts)

    def _pages(self) -> Amounts:
        return amounts_of_stacks(read(live=True).latest.counts)

    def _call_sites(self) -> Amounts:
        readings = read(self.machine.path(ALLOCINFO)).readings
        accounts = [each for r in readings for each in r.notes.accounts.tables if each.kind == CALL_SITE]
        return amounts_of_sites(entry for each in accounts for entry in each.entries)


def cheapest(machine: Machine) -> str:
    """The account that costs least to read here. Raises NotOffered or NoAccess where there is none.

    Where pages are tracked, somebody asked for that one: it knows ages, too.
    """
    if machine.is_root and arm.is_tracking(machine):
        return TRACKED
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
            advice=_how_to_know(machine),
        ) from error
    return KERNEL_MEMORY


def _how_to_know(machine: Machine) -> str:
    recorded = "oomscope arm --track" if machine.page_owner is PageOwnerState.NOT_BUILT else "boot with page_owner=on"
    return f"{recorded}, or sysctl vm.mem_profiling=1 where the kernel has it"
