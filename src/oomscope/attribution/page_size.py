"""How large a page of the machine is: what proves it, and what is usual where nothing does (docs/page-size.md).

Proof is an architecture that has one size, a number told both in pages and in bytes, an amount in kB that is no whole
number of larger pages, the kernel's own word in a dump, or a release of which there is one build only. A huge page of
2 MiB proves nothing: kernels with pages of 64 KiB have such ones, too, and DirectMap lines are printed by powerpc as
well as by x86.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from oomscope.model.oom_event import OomEvent
from oomscope.model.reading import Meminfo
from oomscope.model.unknown import Unknown

USUAL_BYTES = 4096
_SIZES = (4096, 8192, 16384, 65536)
# Where an architecture has one page size only, it is known with the architecture (arch/*/include/asm/page.h).
_ONLY_BYTES = {
    "x86_64": 4096,
    "i386": 4096,
    "s390x": 4096,
    "riscv64": 4096,
    "arm": 4096,
    "alpha": 8192,
    "sparc64": 8192,
}
# By a release's end: its architecture as distributions write it.
_ARCH_OF_RELEASE = re.compile(
    r"(?<![A-Za-z0-9])(?:(?P<x86_64>x86_64|amd64)|(?P<i386>i[3-6]86|686)|(?P<arm64>aarch64|arm64)|(?P<ppc64>ppc64le|ppc64el"
    r"|powerpc64le|ppc64)|(?P<s390x>s390x)|(?P<riscv64>riscv64)|(?P<arm>armv7hl|armv7l|armmp)|(?P<sparc64>sparc64)"
    r"|(?P<loongarch64>loongarch64))"
    r"(?![A-Za-z0-9])"
)
_SIZE_IN_RELEASE = re.compile(r"(?<![A-Za-z0-9])(?P<kib>16|64)kb?(?![A-Za-z0-9])", re.IGNORECASE)
# Distributions that build an architecture with another size than 4 KiB, and with no other.
_BUILT_WITH: tuple[tuple[re.Pattern[str], int], ...] = (
    (re.compile(r"\.(?:el[789]|el10|fc\d{2})(?:_\d{1,2})?\.ppc64(?:le)?(?![A-Za-z0-9])"), 65536),
    (re.compile(r"(?<![A-Za-z0-9])loongarch64$"), 16384),  # arch/loongarch/Kconfig: the default, which all of them keep
    (re.compile(r"\.(?:el7a|el7|el8)(?:_\d{1,2})?\.aarch64(?![A-Za-z0-9])"), 65536),
    (re.compile(r"\.(?:el9|el10|fc\d{2}|amzn2023)(?:_\d{1,2})?\.aarch64$"), 4096),
)
# A number of /proc/meminfo in kB, and the counter of /proc/vmstat or /proc/zoneinfo that has the same in pages.
_TOLD_TWICE = (
    ("Mlocked", "nr_mlock"),
    ("Unevictable", "nr_unevictable"),
    ("AnonPages", "nr_anon_pages"),
    ("Mapped", "nr_mapped"),
    ("Shmem", "nr_shmem"),
    ("SReclaimable", "nr_slab_reclaimable"),
    ("SUnreclaim", "nr_slab_unreclaimable"),
    ("PageTables", "nr_page_table_pages"),
    ("MemTotal", "managed"),
    ("MemFree", "nr_free_pages"),
)
# What of /proc/meminfo the kernel counts in pages (fs/proc/meminfo.c show_val_kb()), unlike what it keeps in kB.
_IN_PAGES = (
    "MemTotal", "MemFree", "MemAvailable", "Buffers", "Cached", "SwapCached", "Active", "Inactive", "Active(anon)",
    "Inactive(anon)", "Active(file)", "Inactive(file)", "Unevictable", "Mlocked", "SwapTotal", "SwapFree", "Dirty",
    "Writeback", "AnonPages", "Mapped", "Shmem", "KReclaimable", "SReclaimable", "SUnreclaim", "PageTables", "Percpu",
)  # fmt: skip
_KEPT_IN_KIB = frozenset({"kernel_stack", "shadow_call_stack", "Balloon", "on free lists"})
# What memory.stat counts in pages.
_PAGES_OF_MEMCG = (
    "rss",
    "cache",
    "anon",
    "file",
    "shmem",
    "mapped_file",
    "active_anon",
    "inactive_anon",
    "active_file",
)
_AGREES_WITHIN = 0.02
_AGREE_LEAST = 2


@dataclass(frozen=True, slots=True)
class PageSize:
    """The page size where it is proven, and `proof`, what proves it; else a reason, and the size that is usual."""

    size_bytes: int | Unknown
    proof: str = ""
    assumed_bytes: int | None = None


def arch_of_release(release: str | Unknown) -> str | None:
    """The architecture that a release names, as distributions write it."""
    match = None if isinstance(release, Unknown) else _ARCH_OF_RELEASE.search(release)
    return None if match is None else match.lastgroup


def page_size(
    arch: str | Unknown,
    release: str | Unknown,
    meminfo: Meminfo | None,
    counters: Mapping[str, int],
    events: Iterable[OomEvent],
    of_slabs: int | None = None,
) -> PageSize:
    """The first proof that there is; see the top of this file. `of_slabs` is what /proc/slabinfo fits, in bytes."""
    if isinstance(arch, str) and arch in _ONLY_BYTES:
        return PageSize(_ONLY_BYTES[arch], f"{arch} has no other")
    if meminfo is not None and meminfo.page_bytes is not None:
        return PageSize(meminfo.page_bytes, "the input tells amounts in pages and in bytes")
    if meminfo is not None and (proof := _by_direct_map(meminfo)) is not None:
        return PageSize(4096, proof)
    if meminfo is not None and _has_small_pages(meminfo.kib.get(name, 0) for name in _IN_PAGES):
        return PageSize(4096, "/proc/meminfo has amounts that are no whole number of larger pages")
    seen = list(events)
    for event in reversed(seen):
        if event.page_kib is not None:
            return PageSize(event.page_kib * 1024, "the OOM report tells amounts in kB and in pages")
    if (size := _told_twice(meminfo, counters, seen)) is not None:
        return PageSize(size, "/proc/meminfo tells in kB what other files tell in pages")
    if of_slabs is not None:
        return PageSize(of_slabs, "/proc/slabinfo has slabs that no other size fills with as many objects")
    if isinstance(release, str) and (size := _by_release(release)) is not None:
        return PageSize(size, f"{release} is built with no other")
    huge_bytes = None if meminfo is None else meminfo.hugepage_bytes
    if huge_bytes == 512 << 20:
        return PageSize(65536, "its huge pages have 512 MiB")
    # A huge page is usually what one page of 8-byte page table entries maps: size = page * page / 8.
    usual = next((size for size in _SIZES if size * size // 8 == huge_bytes), USUAL_BYTES)
    reason = (
        f"nothing in the input proves it; {usual // 1024} KiB is usual, and assumed where kB become pages (--page-size)"
    )
    return PageSize(Unknown("page size", reason), assumed_bytes=usual)


def page_kib_of(event: OomEvent) -> int | None:
    """The page size of one report in KiB: by its numbers (K() of pages), else by its registers or its release."""
    if event.page_kib is not None:
        return event.page_kib
    places = [zone.kib for zone in event.zones] + [node.kib for node in event.nodes]
    places += [victim.kib for victim in event.victims]
    if event.memcg is not None:
        stat = event.memcg.stat
        places.append({name: stat[name] // 1024 for name in _PAGES_OF_MEMCG if stat.get(name, 1) % 1024 == 0})
    if _has_small_pages(kib for place in places for name, kib in place.items() if name not in _KEPT_IN_KIB):
        return 4
    arch = event.arch or (None if event.release is None else arch_of_release(event.release))
    if arch in _ONLY_BYTES:
        return _ONLY_BYTES[arch] // 1024
    size = None if event.release is None else _by_release(event.release)
    return None if size is None else size // 1024


def _has_small_pages(amounts_kib: Iterable[int]) -> bool:
    """Whether one of these amounts cannot be made of pages of 8 KiB or more: then they are of 4 KiB."""
    return any(kib % 8 for kib in amounts_kib)


def _by_direct_map(meminfo: Meminfo) -> str | None:
    """Lines that one architecture with pages of 4 KiB prints alone.

    arch/x86/mm/pat/set_memory.c arch_report_meminfo(): 4k, 2M or 4M, 1G; arch/s390/mm/pageattr.c: 4k, 1M, 2G;
    arch/powerpc/mm/book3s64/pgtable.c: 4k, 64k, 2M, 1G, whatever the page size is.
    """
    maps = {name.removeprefix("DirectMap") for name in meminfo.kib if name.startswith("DirectMap")}
    if "4k" in maps and "64k" not in maps and maps & {"2M", "4M"}:
        return "/proc/meminfo has DirectMap lines of x86, which has no other"
    if {"4k", "1M"} <= maps:
        return "/proc/meminfo has DirectMap lines of s390x, which has no other"
    return None


def _told_twice(meminfo: Meminfo | None, counters: Mapping[str, int], events: list[OomEvent]) -> int | None:
    if meminfo is None:
        return None
    kib = meminfo.kib
    pairs = [(kib[name], counters[twin]) for name, twin in _TOLD_TWICE if twin in counters and name in kib]
    for event in events:
        present, reserved = event.totals.get("pages RAM"), event.totals.get("pages reserved")
        if present is not None and reserved is not None and present > reserved:
            pairs += [(meminfo.total_bytes // 1024, present - reserved)] * _AGREE_LEAST
    votes = [size for kib, pages in pairs if (size := _size_of(kib, pages)) is not None]
    best = max(set(votes), key=votes.count, default=None)
    return best if best is not None and votes.count(best) >= max(_AGREE_LEAST, len(votes) // 2 + 1) else None


def _size_of(kib: int, pages: int) -> int | None:
    """The size with which pages are that many kB, as near as two readings of a machine are."""
    if kib <= 0 or pages <= 0:
        return None
    size = min(_SIZES, key=lambda each: abs(pages * each - kib * 1024))
    return size if abs(pages * size - kib * 1024) <= _AGREES_WITHIN * kib * 1024 else None


def _by_release(release: str) -> int | None:
    if (told := _SIZE_IN_RELEASE.search(release)) is not None:
        return int(told["kib"]) * 1024
    return next((size for pattern, size in _BUILT_WITH if pattern.search(release) is not None), None)
