"""What can be done on a kernel of a certain age: every next step that not every kernel has is worded here.

Each takes the release, None where it is not known: then the step is the one for kernels of today.
"""

from __future__ import annotations

import re

_RELEASE = re.compile(r"(\d{1,2})\.(\d{1,3})(?:\.(\d{1,4}))?")
_WITHOUT_PAGE_OWNER = re.compile(
    r"\+(?:deb\d|rpt)|\d-\d{1,3}-(?:cloud-|rt-)?(?:amd64|arm64|686|686-pae|armmp)$"
    r"|-arch\d{1,2}-\d|-zen\d{1,2}-|-cachyos"
    r"|-(?:generic|lowlatency|aws|azure|gcp|gke|oracle|raspi|oem|kvm|nvidia)(?:-\w+)?$"
)
_SLAB_LEAK = "/proc/slab_allocators, where CONFIG_DEBUG_SLAB_LEAK is set"


_ANDROID = re.compile(r"-android\d{2}-")  # GKI: docs/guide/android.md
_ON_ANDROID = "boot with page_owner=on stack_depot_disable=off"


def has(release: str | None, *since: int) -> bool:
    """Whether a kernel of this release is of `since` (5, 14) or later; one that is not known is."""
    match = _RELEASE.match(release or "")
    return match is None or tuple(int(number or 0) for number in match.groups()) >= since


def has_no_page_owner(release: str | None) -> bool:
    """Whether the name of a release tells that its distribution builds it without page_owner.

    Debian, Ubuntu and Arch do. RHEL and its rebuilds, Fedora, SUSE, Oracle and Android's GKI build it in; of others
    nothing is known.
    """
    return _WITHOUT_PAGE_OWNER.search(release or "") is not None


def memory_limit(release: str | None) -> str:
    """How an administrator bounds what a service takes: memory cgroups came with 2.6.25, their second form with 4.5."""
    if has(release, 4, 5):
        return "with a memory cgroup (MemoryMax=)"
    return "with a memory cgroup (memory.limit_in_bytes)" if has(release, 2, 6, 25) else "with ulimit -v"


def name_next_time(release: str | None, *, has_dump: bool = False) -> str:
    """How memory without a holder gets one: page_owner (4.0), the program on the OOM path (5.13), profiling (6.10).

    Where this answer is of a dump, another one is no help by itself.
    """
    dump = "keep a core dump and run `oomscope explain vmcore`"
    if has_no_page_owner(release):
        ways = ["run `oomscope arm --track`"] if has(release, 5, 13) else []
        ways += [] if has_dump else [dump]
        told = ", or ".join(ways) or "boot a kernel that has page_owner (CONFIG_PAGE_OWNER) with page_owner=on"
        return f"to identify it next time: {told}; this kernel is built without page_owner"
    if _ANDROID.search(release or "") is not None:
        told = "a dump then has the stack of every page" if has_dump else "read /sys/kernel/debug/page_owner in time"
        return f"to identify it next time: {_ON_ANDROID}; {told}"
    if has_dump and has(release, 4, 0):
        return "to identify it next time: boot with page_owner=on; a dump then has the stack of every page"
    if not has(release, 4, 0):
        return f"to identify it next time: {dump}; this kernel has no page_owner, which came with 4.0"
    if not has(release, 5, 13):
        return f"to identify it next time: boot with page_owner=on and {dump}"
    armed = "to identify it next time: boot with page_owner=on and run `oomscope arm`"
    if _RELEASE.match(release or "") is None:
        return f"{armed}; on 6.10 and later also sysctl.vm.mem_profiling=1; or {dump}"
    return f"{armed}{', or with sysctl.vm.mem_profiling=1' if has(release, 6, 10) else ''}; or {dump}"


def dump_with_owners(release: str | None) -> str:
    """What has the next dump name who took kernel memory."""
    if _ANDROID.search(release or "") is not None:
        recorded = _ON_ANDROID
    elif not has_no_page_owner(release):
        recorded = "boot with page_owner=on"
    elif has(release, 5, 13):
        recorded = "run `oomscope arm --track`"
    else:
        recorded = "boot a kernel that has page_owner (CONFIG_PAGE_OWNER) with page_owner=on"
    return f"{recorded}: the next dump names who took them"


def page_takers(release: str | None) -> str:
    """What names who takes pages on a living machine."""
    if not has(release, 4, 0):
        return "read /proc/vmallocinfo: it names who takes mapped pages; this kernel has no page_owner"
    if has_no_page_owner(release):
        track = "run `oomscope arm --track`, or " if has(release, 5, 13) else ""
        return f"{track}read /proc/vmallocinfo: they name who takes such pages"
    if not has(release, 6, 10):
        return "boot with page_owner=on, or read /proc/vmallocinfo: they name who takes such pages"
    return "boot with page_owner=on, or read /proc/allocinfo and /proc/vmallocinfo: they name who takes such pages"


def slab_owners(release: str | None, cache: str | None = None) -> str:
    """How the objects of a cache, or of the largest, get the name of who allocated them.

    alloc_traces came with 5.14, where alloc_calls went; before SLUB (2.6.22) there was DEBUG_SLAB_LEAK.
    """
    if not has(release, 2, 6, 22) or ".el6" in (release or ""):
        return _SLAB_LEAK
    option = f"slub_debug=U,{cache}" if cache else "slub_debug=U"
    file = "/sys/kernel/debug/slab/{}/alloc_traces" if has(release, 5, 14) else "/sys/kernel/slab/{}/alloc_calls"
    return f"boot with {option} and read {file.format(cache or '*')}"


def compaction(release: str | None) -> str:
    """What makes free memory contiguous: on request since 2.6.35, by itself since 5.9."""
    now = "echo 1 > /proc/sys/vm/compact_memory for now" if has(release, 2, 6, 35) else ""
    if has(release, 5, 9):
        return f"vm.compaction_proactiveness, and {now}"
    return now or "a larger vm.min_free_kbytes"


def single_pages(release: str | None) -> str:
    """What a caller does instead of asking for a large block: kvmalloc() came with 4.12."""
    ways = "kvmalloc, scatter-gather" if has(release, 4, 12) else "vmalloc, scatter-gather"
    return f"let the caller take single pages ({ways}) or take its block early"


def earlier_reclaim(release: str | None) -> str:
    """What has kswapd begin earlier: a scale factor since 4.6."""
    scale = " or vm.watermark_scale_factor" if has(release, 4, 6) else ""
    return f"raise vm.min_free_kbytes{scale} so that kswapd starts earlier"


def whole_log(*, has_ended: bool) -> str:
    """Where the rest of a log is: a machine that panicked has another boot since, one that killed has the same."""
    if has_ended:
        return "serial console, pstore, journalctl -k -b -1"
    return "journalctl -k, dmesg, or the serial console"
