"""Which machine the evidence is of: release, architecture, page size and RAM, each with where it comes from."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from oomscope.attribution.page_size import arch_of_release, page_size
from oomscope.attribution.witness_matching import total_pages
from oomscope.model.counts import Counts
from oomscope.model.evidence import LoggedEvent, Moment
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


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """The kernel, RAM and free memory of the latest moment, and the /proc/meminfo that fits it best."""

    kernel: Kernel
    ram_pages: int | Unknown
    free_pages: int | Unknown
    meminfo: Meminfo | None


_FILES = ("meminfo", "node meminfo")  # of those that tell RAM: the kernel's own


def machine(
    readings: Sequence[Reading],
    used: Sequence[Reading],
    moments: Sequence[Moment],
    events: Sequence[LoggedEvent],
    page_size_bytes: int | None,
) -> MachineFacts:
    """The facts, from all readings; the kernel from those that are `used` as evidence.

    `page_size_bytes` is what the user says, which nothing contradicts.
    """
    latest = moments[-1]
    of = kernel(
        used,
        [moment.counts for moment in moments],
        _first_meminfo(readings),
        _counters(readings),
        [logged.analysis.event for logged in events],
    )
    system = next((m.reading.notes.system for m in reversed(moments) if m.reading.notes.system is not None), None)
    if system is not None:
        of = _with_page_size(replace(of, arch=system.arch), system.page_size_bytes, "VMCOREINFO tells it")
    if page_size_bytes is not None:
        of = _with_page_size(of, page_size_bytes, "it was given")
    meminfo = _meminfo_of(latest, readings, of.page_size_bytes)
    ram = ram_pages(latest, meminfo, of.page_size_bytes, _managed_pages(readings))
    if isinstance(ram, Unknown):
        of_reports = (logged.analysis.accounting.ram_pages for logged in reversed(events))
        ram = next((pages for pages in of_reports if pages), ram)
    return MachineFacts(of, ram, free_pages(meminfo, of.page_size_bytes), meminfo)


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
    of_slabs = {r.notes.accounts.page_bytes for r in readings if r.notes.accounts.page_bytes is not None}
    size = page_size(arch, release, meminfo, counters, seen, of_slabs.pop() if len(of_slabs) == 1 else None)
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
    if meminfo.total_bytes < page_size_bytes:
        return Unknown("RAM in pages", "MemTotal is less than one page: it is damaged")
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


def _with_page_size(kernel: Kernel, size_bytes: int, proof: str) -> Kernel:
    return replace(kernel, page_size_bytes=size_bytes, page_size_assumed_bytes=None, page_size_proof=proof)


def _counters(readings: Iterable[Reading]) -> dict[str, int]:
    """The counters of all readings, those of the first one that has each."""
    merged: dict[str, int] = {}
    for reading in readings:
        merged = {**reading.notes.accounts.counters, **merged}
    return merged


def _managed_pages(readings: Iterable[Reading]) -> int | None:
    return next(
        (r.notes.accounts.counters["managed"] for r in readings if "managed" in r.notes.accounts.counters), None
    )


def _first_meminfo(readings: Iterable[Reading]) -> Meminfo | None:
    found = _meminfos(readings)
    return found[0] if found else None


def _meminfos(readings: Iterable[Reading]) -> list[Meminfo]:
    """The fullest first: what a tool makes of /proc/meminfo tells less than the file."""
    told = [(r.format, r.notes.accounts.meminfo) for r in readings if r.notes.accounts.meminfo is not None]
    return [each for _, each in sorted(told, key=lambda pair: (pair[0] not in _FILES, -len(pair[1].kib)))]


def _meminfo_of(moment: Moment, readings: Iterable[Reading], page_size_bytes: int | Unknown) -> Meminfo | None:
    """The /proc/meminfo that fits the moment best: used memory nearest to the pages counted."""
    candidates = _meminfos(readings)
    # One that does not tell its free memory cannot be judged to fit: it serves where no other is there.
    told = [(m, m.total_bytes - m.free_bytes) for m in candidates if m.free_bytes is not None]
    pages = moment.totals.pages if moment.totals is not None else total_pages(moment.counts)
    if not told or not pages or isinstance(page_size_bytes, Unknown):
        return candidates[0] if candidates else None
    counted_bytes = pages * page_size_bytes
    return min(told, key=lambda candidate: abs(candidate[1] - counted_bytes))[0]
