"""Tracking: what the table of owners costs, putting its programs on the ways of every page, and reading it."""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import re
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from oomscope.errors import NotOffered
from oomscope.host.bpf.libbpf import LibBpf, Object, Refused
from oomscope.host.bpf.requirements import TOO_OLD, has_programs, require_layout
from oomscope.host.facts import Machine
from oomscope.sources.tracker import layout
from oomscope.sources.tracker.layout import OwnerCounters, PageOwners
from oomscope.units import bytes_text, share_text

# Maps of bpf/owners.h, and the names of their pins.
STATE_MAP = ".data.owners"
SLOT_PAGES = "slot_pages"
MAPS = {
    STATE_MAP: "owner_state",
    "owned_stacks": "owned_stacks",
    "owner_places": "owner_places",
    "page_owners": "page_owners",
    "owner_counters": "owner_counters",
    SLOT_PAGES: SLOT_PAGES,
}
_OPTIONS = struct.Struct("<IIIIIIIIII18Q")  # `owner_options`
_MOST_SHARDS = 16
_REPORT_BYTES = 1 << 20  # about: reports, who answers, ranges of addresses, the map that is counted through
_MOST_ALLOCATORS = 8
_SYSTEM_RAM = re.compile(r"^ *([0-9a-f]+)-([0-9a-f]+) : System RAM\b", re.MULTILINE)
_PAGES_PER_STACK = 32
_FEWEST_STACKS, _MOST_STACKS = 1 << 13, 1 << 16  # an entry has 16 bits for the stack
_ASK_ABOVE_SHARE, _REFUSE_ABOVE_SHARE = 0.02, 0.5  # of the memory that is available
_SECTION_BITS = {12: 27, 14: 27, 16: 29}  # by page shift, where VMCOREINFO does not tell
_CLOCK_S = 0.25
# How many times as long page faults took in the lab, the load that is nothing but allocations (docs/guide/track.md).
FAULTS_OF_ALL, FAULTS_OF_KERNEL_ONLY = 1.53, 1.06
_HZ = (100, 250, 300, 500, 600, 750, 1000, 2000)  # that kernels of x86_64 and arm64 are built with, and patched to
_ALLOC_EVENT, _FREE_EVENT = "__traceiter_mm_page_alloc", "__traceiter_mm_page_free"
# Functions in which the stack of an allocation begins, the most frequent first.
_ALLOCATORS = (
    "__alloc_pages_noprof",
    "__alloc_pages",
    "__alloc_frozen_pages_noprof",
    "alloc_frozen_pages_nolock_noprof",
    "alloc_pages_nolock_noprof",
    "try_alloc_pages_noprof",
)
TRACEPOINTS = ("on_alloc", "on_free")
_BY_THEIR_ARGUMENTS = ("on_bulk_alloc", "on_contig_alloc")  # whose number differs from release to release
_LOOK_AROUND = "look_around"


@dataclass(frozen=True, slots=True)
class Way:
    """A way of pages that no tracepoint is on: the program for it, and the function it goes to, newest name first."""

    program: str
    kind: str
    functions: tuple[str, ...]
    name: str
    by_kprobe: str | None = None


WAYS = (
    Way("on_bulk_alloc", "fexit", ("alloc_pages_bulk_noprof", "__alloc_pages_bulk"), "alloc_pages_bulk()"),
    Way(
        "on_migration",
        "fentry",
        ("folio_migrate_flags", "migrate_page_states"),
        "migration",
        "on_migration_by_kprobe",
    ),
    Way("on_compaction_alloc", "fexit", ("compaction_alloc",), "compaction_alloc()"),
    Way(
        "on_contig_alloc",
        "fexit",
        ("alloc_contig_frozen_range_noprof", "alloc_contig_range_noprof", "alloc_contig_range"),
        "alloc_contig_range()",
    ),
)
PROGRAMS = (
    *TRACEPOINTS,
    _LOOK_AROUND,
    *(way.program for way in WAYS),
    *(way.by_kprobe for way in WAYS if way.by_kprobe is not None),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What tracking takes: `blocks` are the numbers of the blocks of 32,768 pages that RAM lies in."""

    kernel_only: bool
    blocks: tuple[int, ...]
    stacks: int
    shards: int
    page_shift: int
    ram_bytes: int

    @property
    def table_bytes(self) -> int:
        """Four bytes for each page of those blocks."""
        return len(self.blocks) * layout.BLOCK_PAGES * 4

    @property
    def size_bytes(self) -> int:
        """All maps: the table, the stacks with their counts, the places of the blocks, what makes a report."""
        stacks_bytes = self.stacks * (layout.stack_dtype().itemsize + 8 * self.shards)
        return self.table_bytes + stacks_bytes + (self.blocks[-1] + 1) * 8 + _REPORT_BYTES

    def told_time(self) -> str:
        """The cost in time in words: what is known before it is measured here."""
        ratio = FAULTS_OF_KERNEL_ONLY if self.kernel_only else FAULTS_OF_ALL
        return f"time at each allocation: in the lab page faults, the worst load, took {ratio:.2f} times as long"

    def told(self) -> str:
        """The cost in memory in words."""
        share = share_text(self.size_bytes / self.ram_bytes)
        return (
            f"{bytes_text(self.size_bytes)} ({share} of RAM): 4 bytes for each page,"
            f" {bytes_text(self.size_bytes - self.table_bytes)} for {self.stacks:,} stacks and a report"
        )


def plan(machine: Machine, *, kernel_only: bool) -> Plan:
    """What tracking would take on this machine. Raises NotOffered where that cannot be told."""
    page_shift = os.sysconf("SC_PAGE_SIZE").bit_length() - 1
    ranges = [
        (int(first, 16) >> page_shift, int(last, 16) >> page_shift)
        for first, last in _SYSTEM_RAM.findall(machine.text("/proc/iomem") or "")
    ]
    ranges = [(first, last) for first, last in ranges if last]
    if not ranges:
        raise NotOffered("/proc/iomem does not tell where RAM is")
    blocks: set[int] = set()
    for first, last in ranges:
        blocks.update(range(first // layout.BLOCK_PAGES, last // layout.BLOCK_PAGES + 1))
    ram_pages = sum(last - first + 1 for first, last in ranges)
    wanted = 1 << max(0, (ram_pages // _PAGES_PER_STACK - 1).bit_length())
    stacks = min(_MOST_STACKS, max(_FEWEST_STACKS, wanted))
    shards = min(_MOST_SHARDS, 1 << (machine.possible_cpus - 1).bit_length())
    return Plan(kernel_only, tuple(sorted(blocks)), stacks, shards, page_shift, ram_pages << page_shift)


def require(machine: Machine) -> None:
    """That this kernel offers what tracking needs. Raises NotOffered."""
    missing = missing_for(machine)
    if missing:
        raise NotOffered(f"this kernel cannot track pages: {'; '.join(missing)}")


def missing_for(machine: Machine) -> list[str]:
    """What tracking needs and this kernel does not have."""
    missing = []
    if not has_programs(machine):
        missing.append(TOO_OLD)
    if not {_ALLOC_EVENT, _FREE_EVENT} <= machine.symbols.keys():
        missing.append("no tracepoints mm_page_alloc and mm_page_free (CONFIG_TRACEPOINTS)")
    lacking = [name for name in ("mem_section", "vm_zone_stat", "_totalram_pages") if name not in machine.symbols]
    if lacking:
        missing.append(f"no symbol {', '.join(lacking)} (CONFIG_KALLSYMS_ALL)")
    return missing


def require_memory(machine: Machine, plan: Plan, *, confirmed: bool) -> None:
    """That the cost can be borne. Raises NotOffered."""
    found = re.search(r"^MemAvailable: +(\d+) kB$", machine.text("/proc/meminfo") or "", re.MULTILINE)
    available_bytes = int(found[1]) * 1024 if found else plan.ram_bytes
    share = plan.size_bytes / max(1, available_bytes)
    told = f"tracking takes {plan.told()}; {bytes_text(available_bytes)} are available"
    if share > _REFUSE_ABOVE_SHARE:
        raise NotOffered(f"not enough memory: {told}")
    if share > _ASK_ABOVE_SHARE and not confirmed:
        raise NotOffered(told, advice="--yes takes it all the same")


def prepare(
    machine: Machine, library: LibBpf, program_object: Object, plan: Plan, section_bits: int | None, *, kprobes: bool
) -> None:
    """Sizes, constants and targets, before loading. With `kprobes` alone, as for kernels without function entries."""
    for way in WAYS:
        target = None if kprobes else _target(machine, library, way)
        if target is None:
            program_object.leave_out(way.program)
        else:
            program_object.set_target(way.program, target)
    program_object.set_entries("owned_stacks", plan.stacks)
    program_object.set_entries(SLOT_PAGES, plan.stacks * plan.shards)
    program_object.set_entries("owner_places", plan.blocks[-1] + 1)
    program_object.set_entries("page_owners", len(plan.blocks))
    shift = (section_bits or _SECTION_BITS[plan.page_shift]) - plan.page_shift
    sections = ((plan.blocks[-1] + 1) * layout.BLOCK_PAGES >> shift) + 1
    names = (*_ALLOCATORS, *(name for way in WAYS for name in way.functions if way.kind == "fexit"))
    extents = [extent for name in names if (extent := machine.extent(name)) is not None][:_MOST_ALLOCATORS]
    ends = [end for extent in extents for end in extent]
    ends += [0] * (2 * _MOST_ALLOCATORS - len(ends))
    bulk, contig = (
        library.arguments_of(_in_kernel(machine, way) or "") for way in WAYS if way.program in _BY_THEIR_ARGUMENTS
    )
    constants = (plan.stacks, len(plan.blocks), plan.kernel_only, plan.page_shift, sections, len(extents))
    counts = (plan.shards, bulk, contig, 0)
    program_object.set_constants(".rodata.owners", _OPTIONS.pack(*constants, *counts, *ends, *machine.core_text))


def start(
    machine: Machine, library: LibBpf, program_object: Object, plan: Plan, pins: Path, *, kprobes: bool
) -> tuple[str, ...]:
    """Fill in the places, attach, begin. Raises Refused or NotOffered.

    The ways that this kernel takes pages and nothing could be attached to: their pages have no owner.
    """
    for name, pin in MAPS.items():
        program_object.pin_map(name, machine.path(pins / pin))
    places = map_array(library, machine.path(pins / "owner_places"), "<u8", plan.blocks[-1] + 1, write=True)
    places[list(plan.blocks)] = np.arange(1, len(plan.blocks) + 1)
    state = map_array(library, machine.path(pins / "owner_state"), layout.state_dtype(), 1, write=True)[0]
    program_object.run(_LOOK_AROUND)
    if not int(state["vmemmap"]):
        raise NotOffered("struct pages do not lie in one array (CONFIG_SPARSEMEM_VMEMMAP)")
    state["step_shift"], state["step_ns"] = _step(program_object, state)
    for program in TRACEPOINTS:
        program_object.attach_by_section(program, machine.path(pins / link_name(program)))
    uncovered = []
    for way in WAYS:
        if not any(name in machine.symbols for name in way.functions):
            continue  # this kernel has no such way
        if not _attach(machine, library, program_object, way, machine.path(pins / link_name(way.program)), kprobes):
            uncovered.append(way.name)
    program_object.run(_LOOK_AROUND)
    state["since_ns"], state["since_jiffies"] = state["clock_ns"], state["clock_jiffies"]
    state["ready"] = 1
    return tuple(uncovered)


def link_name(program: str) -> str:
    """The pin that holds a program of tracking to where it runs."""
    return f"link-{program}"


def stop(pins: Path) -> None:
    """From now on nothing is recorded, and whoever still finds the table knows that it is out of date."""
    with contextlib.suppress(Refused, OSError, NotOffered):
        map_array(LibBpf(), pins / MAPS[STATE_MAP], layout.state_dtype(), 1, write=True)[0]["ready"] = 0


def _target(machine: Machine, library: LibBpf, way: Way) -> str | None:
    """The function of this kernel that a way's program goes to; None where there is none with types."""
    name = _in_kernel(machine, way)
    return name if name is not None and library.has_function(name, way.kind) else None


def _in_kernel(machine: Machine, way: Way) -> str | None:
    """What this kernel calls the function of a way; None where it has none."""
    return next((name for name in way.functions if name in machine.symbols), None)


def _attach(machine: Machine, library: LibBpf, program_object: Object, way: Way, pin: Path, kprobes: bool) -> bool:
    """A way's program to its function; to a kprobe there where the kernel does not take the better one."""
    if not kprobes and _target(machine, library, way) is not None:
        try:
            program_object.attach_by_section(way.program, pin)
            return True
        except Refused:
            pass
    if way.by_kprobe is None:
        return False
    program_object.attach(way.by_kprobe, next(name for name in way.functions if name in machine.symbols), pin)
    return True


def read(library: LibBpf, pins: Path) -> PageOwners:
    """The table as it is now. Raises OSError where it is not pinned there or may not be read."""
    state = map_array(library, pins / "owner_state", layout.state_dtype(), 1)[0]
    stacks = map_array(library, pins / "owned_stacks", layout.stack_dtype(), None)
    table = map_array(library, pins / "page_owners", "<u4", None).reshape(-1, layout.BLOCK_PAGES)
    return PageOwners(
        since_ns=int(state["since_ns"]),
        step_ns=int(state["step_ns"]),
        at_ns=time.monotonic_ns(),
        stacks=stacks,
        places=map_array(library, pins / "owner_places", "<u8", None),
        block=lambda place: table[place],
        counters=read_counters(library, pins),
        kept=map_array(library, pins / SLOT_PAGES, "<i8", None).reshape(-1, len(stacks)),
    )


def read_counters(library: LibBpf, pins: Path) -> OwnerCounters:
    """The programs' own counters, of all programs and processors. Raises OSError, Refused."""
    fd = library.map_fd(pins / "owner_counters")
    try:
        raw = library.look_up(fd, 0, library.possible_cpus() * library.map_info(fd).value_bytes)
    finally:
        os.close(fd)
    if raw is None:
        raise OSError(f"{pins / 'owner_counters'} has no value")
    return layout.counters(raw)


@dataclass(frozen=True, slots=True)
class Audit:
    """The table held against the programs' own counters: `owned_pages` entries are set, `counted_pages` must be.

    On a machine that goes on, the two may differ by what was allocated and freed meanwhile, `moving_pages`. `misses`
    are events passed over because the same program ran on that processor already. `miscounted_pages` is how far the
    counts kept per stack, which a panic's report is made of, are from the table, all stacks together. Of the owned
    pages, `left_out_pages` are not recorded by stack on purpose, `table_full_pages` and `no_stack_pages` could not be.
    """

    owned_pages: int
    counted_pages: int
    moving_pages: int
    misses: int
    miscounted_pages: int
    left_out_pages: int
    table_full_pages: int
    no_stack_pages: int
    room_for_stacks: int
    counters: OwnerCounters

    @property
    def agrees(self) -> bool:
        """Whether nothing is unaccounted for: a page that comes or goes meanwhile may be in one count alone."""
        apart = max(abs(self.owned_pages - self.counted_pages), self.miscounted_pages)
        return apart <= self.moving_pages


def audit(library: LibBpf, pins: Path) -> Audit:
    """Count the table once. Raises OSError, Refused."""
    before = read_counters(library, pins)
    table = read(library, pins)
    by_slot = table.pages_by_slot()
    miscounted = int(np.abs(table.kept.sum(axis=0) - by_slot).sum())
    left_out, full, no_stack = by_slot[[layout.LEFT_OUT, layout.TABLE_FULL, layout.NO_STACK]].tolist()
    owned_pages = int(by_slot.sum())
    after = read_counters(library, pins)
    moving = (after.allocated_pages - before.allocated_pages) + (after.freed_pages - before.freed_pages)
    misses = sum(library.recursion_misses(link) for link in pins.glob("link-on_*"))
    counted = before.owned_pages
    of_slots = (left_out, full, no_stack)
    return Audit(owned_pages, counted, moving, misses, miscounted, *of_slots, len(table.stacks), after)


def map_array(library: LibBpf, pin: Path, dtype: Any, entries: int | None, *, write: bool = False) -> Any:
    """A pinned array map as an array of its own memory; `entries` of them, or all."""
    fd = library.map_fd(pin)
    try:
        info = library.map_info(fd)
        if entries is None:
            is_struct = np.dtype(dtype).fields is not None
            require_layout(info.value_bytes, np.dtype(dtype).itemsize if is_struct else info.value_bytes)
            entries = info.entries * info.value_bytes // np.dtype(dtype).itemsize
        else:
            require_layout(info.entries * info.value_bytes, entries * np.dtype(dtype).itemsize, exact=False)
        size = entries * np.dtype(dtype).itemsize
        size = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        protection = mmap.PROT_READ | mmap.PROT_WRITE if write else mmap.PROT_READ
        memory = mmap.mmap(fd, size, mmap.MAP_SHARED, protection)
    finally:
        os.close(fd)
    return np.frombuffer(memory, dtype, count=entries)


def _step(program_object: Object, state: Any) -> tuple[int, int]:
    """The power of two of jiffies that is nearest to a second, and how long it lasts."""
    began_ns, began = int(state["clock_ns"]), int(state["clock_jiffies"])
    time.sleep(_CLOCK_S)
    program_object.run("look_around")
    measured_hz = (int(state["clock_jiffies"]) - began) / (int(state["clock_ns"]) - began_ns) * 1e9
    hz = min(_HZ, key=lambda hz: abs(hz - measured_hz))
    shift = round(math.log2(hz))
    return shift, (1 << shift) * 10**9 // hz
