"""Which machine the evidence is of: architecture, page size, RAM."""

from __future__ import annotations

from collections.abc import Iterable

from oomscope.model.absent import Absent
from oomscope.model.counts import Counts
from oomscope.model.evidence import Kernel, Moment
from oomscope.model.reading import Meminfo, Reading

# Entry functions that exist on one architecture only.
_ENTRY_FUNCTIONS = {
    "x86_64": ("entry_SYSCALL_64_after_hwframe", "common_startup_64", "secondary_startup_64_no_verify", "x64_sys_call"),
    "arm64": ("el0t_64_sync", "el0_sync", "el0t_64_sync_handler", "invoke_syscall", "el0_svc"),
    "riscv64": ("do_trap_ecall_u", "ret_from_exception"),
    "ppc64": ("system_call_exception", "system_call_vectored_common"),
    "s390x": ("__do_syscall_s390", "system_call_s390"),
}
# Where an architecture has one page size only, it is known with the architecture.
_ONLY_PAGE_SIZE_BYTES = {"x86_64": 4096, "s390x": 4096, "riscv64": 4096}


def kernel(readings: Iterable[Reading], counts: Iterable[Counts], meminfo: Meminfo | None) -> Kernel:
    """Release from a version line, architecture from entry frames, page size from either or from meminfo."""
    releases = {r.notes.release: None for r in readings if r.notes.release is not None}
    arch = _arch(counts)
    return Kernel(
        release=_release(list(releases)),
        arch=arch,
        page_size_bytes=_page_size_bytes(arch, meminfo),
    )


def ram_pages(
    moment: Moment, meminfo: Meminfo | None, page_size_bytes: int | Absent, managed_pages: int | None
) -> int | Absent:
    """Managed pages: as kernel memory has them or the dying kernel printed them, else MemTotal, else zoneinfo's."""
    system, totals = moment.reading.notes.system, moment.totals
    if system is not None:
        if system.ram_pages is None:
            return Absent("RAM", "the zones' managed pages cannot be read")
        return system.ram_pages
    if totals is not None and totals.ram_pages:
        return totals.ram_pages
    if meminfo is None:
        if managed_pages:
            return managed_pages
        return Absent("RAM", "no /proc/meminfo beside the input: shares of RAM cannot be told")
    if isinstance(page_size_bytes, Absent):
        return Absent("RAM in pages", page_size_bytes.reason)
    return meminfo.total_bytes // page_size_bytes


def free_pages(meminfo: Meminfo | None, page_size_bytes: int | Absent) -> int | Absent:
    """Free pages when /proc/meminfo was read."""
    if meminfo is None or meminfo.free_bytes is None or isinstance(page_size_bytes, Absent):
        return Absent("free pages", "no /proc/meminfo beside the input tells them")
    return meminfo.free_bytes // page_size_bytes


def _release(releases: list[str]) -> str | Absent:
    if not releases:
        return Absent("kernel release", "no input holds a version line")
    if len(releases) > 1:
        return Absent("kernel release", f"the inputs name several: {', '.join(releases)}; are they of one machine?")
    return releases[0]


def _arch(counts: Iterable[Counts]) -> str | Absent:
    functions = {frame.function for c in counts for stack in c.stacks for frame in stack.frames[-3:]}
    for arch, entries in _ENTRY_FUNCTIONS.items():
        if functions.intersection(entries):
            return arch
    return Absent("architecture", "no stack shows an entry function that only one architecture has")


def _page_size_bytes(arch: str | Absent, meminfo: Meminfo | None) -> int | Absent:
    if isinstance(arch, str) and arch in _ONLY_PAGE_SIZE_BYTES:
        return _ONLY_PAGE_SIZE_BYTES[arch]
    if meminfo is not None and meminfo.direct_map_4k:
        return 4096  # arch/x86/mm/pat/set_memory.c alone prints DirectMap4k beside DirectMap2M
    if meminfo is not None and meminfo.hugepage_bytes is not None:
        # A huge page is what one page of 8-byte page table entries maps: size = page * page / 8.
        for page_size_bytes in (4096, 16384, 65536):
            if page_size_bytes * page_size_bytes // 8 == meminfo.hugepage_bytes:
                return page_size_bytes
    return Absent("page size", "neither an architecture with one page size nor /proc/meminfo tells it (--page-size)")
