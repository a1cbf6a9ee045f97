"""Which machine the evidence is of: architecture, page size, RAM."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping

from oomscope.attribution.page_size import arch_of_release, page_size
from oomscope.model.counts import Counts
from oomscope.model.evidence import Moment
from oomscope.model.kernel import Kernel
from oomscope.model.oom_event import OomEvent
from oomscope.model.reading import Meminfo, Reading
from oomscope.model.unknown import Unknown

# Entry functions that exist on one architecture only.
_ENTRY_FUNCTIONS = {
    "x86_64": ("entry_SYSCALL_64_after_hwframe", "common_startup_64", "secondary_startup_64_no_verify", "x64_sys_call"),
    "arm64": ("el0t_64_sync", "el0_sync", "el0t_64_sync_handler", "invoke_syscall", "el0_svc"),
    "riscv64": ("do_trap_ecall_u",),
    "ppc64": ("system_call_exception", "system_call_vectored_common"),
    "s390x": ("__do_syscall_s390", "system_call_s390"),
}
_STACKS_LOOKED_AT = 10_000


def kernel(
    readings: Iterable[Reading],
    counts: Iterable[Counts],
    meminfo: Meminfo | None,
    counters: Mapping[str, int],
    events: Iterable[OomEvent],
) -> Kernel:
    """Release from version lines and reports, architecture from code that only one has, page size by proof."""
    seen = list(events)
    releases = {r.notes.release: None for r in readings if r.notes.release is not None}
    release = _release(list(releases))
    if isinstance(release, Unknown) and not releases:
        release = next((event.release for event in reversed(seen) if event.release is not None), release)
    arch = _arch(counts, release, seen)
    size = page_size(arch, release, meminfo, counters, seen)
    return Kernel(release, arch, size.size_bytes, size.assumed_bytes, size.proof)


def ram_pages(
    moment: Moment, meminfo: Meminfo | None, page_size_bytes: int | Unknown, managed_pages: int | None
) -> int | Unknown:
    """Managed pages: as kernel memory has them or the dying kernel printed them, else MemTotal, else zoneinfo's."""
    system, totals = moment.reading.notes.system, moment.totals
    if system is not None:
        if system.ram_pages is None:
            return Unknown("RAM", "the zones' managed pages cannot be read")
        return system.ram_pages
    if totals is not None and totals.ram_pages:
        return totals.ram_pages
    if meminfo is None:
        if managed_pages:
            return managed_pages
        return Unknown("RAM", "no /proc/meminfo beside the input: shares of RAM cannot be told")
    if isinstance(page_size_bytes, Unknown):
        return Unknown("RAM in pages", page_size_bytes.reason)
    return meminfo.total_bytes // page_size_bytes


def free_pages(meminfo: Meminfo | None, page_size_bytes: int | Unknown) -> int | Unknown:
    """Free pages when /proc/meminfo was read."""
    if meminfo is None or meminfo.free_bytes is None or isinstance(page_size_bytes, Unknown):
        return Unknown("free pages", "no /proc/meminfo beside the input tells them")
    return meminfo.free_bytes // page_size_bytes


def _release(releases: list[str]) -> str | Unknown:
    if not releases:
        return Unknown("kernel release", "no input holds a version line")
    if len(releases) > 1:
        return Unknown("kernel release", f"the inputs name several: {', '.join(releases)}; are they of one machine?")
    return releases[0]


def _arch(counts: Iterable[Counts], release: str | Unknown, events: list[OomEvent]) -> str | Unknown:
    stacks = (stack for c in counts for stack in itertools.islice(c.stacks, _STACKS_LOOKED_AT))
    functions = {frame.function for stack in stacks for frame in stack.frames[-3:]}
    functions |= {text.partition("+")[0] for event in events for text in event.asked.stack[-3:]}
    for arch, entries in _ENTRY_FUNCTIONS.items():
        if functions.intersection(entries):
            return arch
    by_registers = next((event.arch for event in reversed(events) if event.arch is not None), None)
    named = by_registers or arch_of_release(release)
    return named or Unknown("architecture", "no stack shows an entry function that only one architecture has")
