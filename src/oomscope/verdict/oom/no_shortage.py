"""no-shortage: memory was there.

The OOM was asked for by hand, the request forbidden by policy, larger than RAM, too early in boot, or a page fault's.
"""

from __future__ import annotations

from collections.abc import Callable

from oomscope.attribution.oom.zones import free_in, usable_in
from oomscope.model.oom_analysis import ZoneCheck
from oomscope.model.oom_event import FAILURE, KILL, PANIC, SHOWN, VMALLOC_FAILURE
from oomscope.model.verdict import CERTAIN, LIKELY, Finding
from oomscope.units import bytes_text
from oomscope.verdict import advice
from oomscope.verdict.oom.case import NO_SHORTAGE, Cause, OomCase

_NEARLY_ALL_FREE = 0.9
_PLENTY_FREE = 0.1
_MUCH_AVAILABLE = 0.3
_MOST, _TWICE = 0.5, 2
_START_NS = 10 * 10**9


def rule(case: OomCase) -> Cause | None:
    """Claims it on the first number that proves it."""
    for reason in _REASONS:
        finding = reason(case)
        if finding is not None:
            return Cause(NO_SHORTAGE, finding)
    return None


def _by_hand(case: OomCase) -> Finding | None:
    if case.request.order != -1:
        return None
    return Finding(
        claim="an administrator called the OOM killer (SysRq-f); nothing had failed",
        pages=None,
        certainty=CERTAIN,
        because=case.evidence("header", "free"),
        refuted_by="nothing: order=-1 is what the kernel writes for this",
        next="ask who wrote f to /proc/sysrq-trigger or pressed the key",
    )


def _larger_than_ram(case: OomCase) -> Finding | None:
    size_bytes = case.event.asked.size_bytes
    if not case.is_larger_than_ram:
        return None
    asked = f"{bytes_text(size_bytes)} of vmalloc" if size_bytes else case.needs
    return Finding(
        claim=f"the request was for {asked}, more than the machine has",
        pages=None,
        certainty=CERTAIN,
        because=case.evidence("header", "pages RAM"),
        refuted_by="a machine with more memory than this report tells of",
        next="find where the size comes from in the caller: a wrong or hostile length is likely",
    )


def _of_no_bytes(case: OomCase) -> Finding | None:
    if case.event.kind != VMALLOC_FAILURE or case.event.asked.size_bytes != 0:
        return None
    return Finding(
        claim=f"vmalloc was asked for 0 bytes{case.caller}, which it never serves: memory was not short",
        pages=None,
        certainty=CERTAIN,
        because=case.evidence("header", "free"),
        refuted_by="nothing: mm/vmalloc.c refuses a size of 0",
        next="find in the caller where the size comes from: a firmware or a device told it no length",
    )


def _not_mapped(case: OomCase) -> Finding | None:
    """The pages were there, and their page tables could not be filled in (mm/vmalloc.c vmap_pages_range())."""
    free = case.accounting.pages("free")
    if case.event.kind != VMALLOC_FAILURE or "not mapped" not in case.event.remarks:
        return None
    if not case.knows_ram or case.share(free) < _PLENTY_FREE:
        return None
    size = bytes_text(case.event.asked.size_bytes or 0)
    return Finding(
        claim=f"{size} of vmalloc{case.caller} got its pages and could not be mapped, with "
        f"{case.share_words(free)} free",
        pages=free,
        certainty=LIKELY,
        because=case.evidence("header", "free", "pages RAM"),
        refuted_by="page tables that could not be allocated: a failure of order 0 just before",
        next="look above for a WARNING from the page table code: the range may have been mapped already",
    )


def _could_be_reclaimed(case: OomCase) -> Finding | None:
    """A report without its request, on a machine where much of RAM is free or clean page cache."""
    if case.event.kind != SHOWN or not (case.knows_ram or case.event.has_counters):
        return None
    large = [check for check in case.analysis.zones if check.passes is not None and not case.is_tiny(check)]
    if large and not any(check.passes for check in large):
        return None  # what may not wait finds nothing there
    counters = case.event.counters
    waiting = counters.get("dirty", 0) + counters.get("writeback", 0) + counters.get("unstable", 0)
    clean = max(case.accounting.pages("page cache") - waiting, 0)
    available = clean + case.accounting.pages("free")
    if case.share(available) < _MUCH_AVAILABLE:
        return None
    boosted = [check for check in case.analysis.zones if check.boost_pages]
    raised = f"; the watermarks of {boosted[0].zone.title} are raised for a while (boost)" if boosted else ""
    return Finding(
        claim=f"{case.size(available)}, {case.share_words(available)}, was free or clean page cache{raised}; which "
        "request failed, if any, this log does not show",
        pages=available,
        certainty=LIKELY,
        because=case.evidence("free", "active_file", "pages RAM"),
        refuted_by="the lines above these: a request that may not wait, or for a large block",
        next="look for the line above these that says who asked for what (order and gfp mask)",
    )


def _refused(case: OomCase) -> Finding | None:
    """A request for single pages that may wait is served as long as anything can be reclaimed (should_reclaim_retry()).

    It fails otherwise only for a task that is being killed, or where a memory cgroup refuses its charge.
    """
    request, clean = case.request, case.accounting.pages("page cache")
    if case.event.kind not in (FAILURE, VMALLOC_FAILURE) or request.order != 0 or request.may_wait is not True:
        return None
    if "__GFP_NORETRY" in case.gfp or "stall" in case.event.remarks or case.share(clean) < _MUCH_AVAILABLE:
        return None
    if not any(check.passes for check in case.allowed):
        return None
    charged = " or the memory cgroup that it is charged to (ACCOUNT) is at its limit" if "ACCOUNT" in case.gfp else ""
    return Finding(
        claim=f"single pages were refused{case.caller} with {case.size(clean)} of page cache to reclaim: the task was "
        f"being killed{charged}",
        pages=clean,
        certainty=LIKELY,
        because=case.evidence("header", "free", "active_file"),
        refuted_by="page cache that could not be reclaimed: dirty, or locked",
        next="look above for a kill of this task, or for its memory cgroup at a limit (memory.events)",
    )


def _forbidden(case: OomCase) -> Finding | None:
    if not case.event.is_confined or not case.analysis.zones:
        return None
    free = case.event.counters.get("free", 0)
    elsewhere = free - free_in(case.analysis.zones)
    if elsewhere < _PLENTY_FREE * case.base_pages or elsewhere < 10 * free_in(case.allowed):
        return None
    what = {"CONSTRAINT_CPUSET": "its cpuset", "CONSTRAINT_MEMORY_POLICY": "its memory policy"}.get(
        case.event.constraint or "", "its cpuset or memory policy"
    )
    nodes = "" if case.event.mems_allowed is None else f" (nodes {case.event.mems_allowed})"
    return Finding(
        claim=f"{what}{nodes} forbids where memory is free: {case.size(elsewhere)} elsewhere",
        pages=elsewhere,
        certainty=CERTAIN if not case.allowed or all(check.passes is False for check in case.allowed) else LIKELY,
        because=case.evidence("oom-kill", "free", *(check.zone.title for check in case.analysis.zones[:2])),
        refuted_by="free memory in a zone that the request may use, on an allowed node",
        next="allow it a node with a zone that serves this request (cpuset.mems), or move the work",
    )


def _of_bpf(case: OomCase) -> Finding | None:
    constraint = case.event.constraint or ""
    if not constraint.startswith("CONSTRAINT_BPF"):
        return None
    relaxed = [check for check in case.analysis.zones if check.is_above_high]
    memcg = case.event.memcg
    beside = f" with {case.share_words(case.accounting.pages('free'))} free" if relaxed else ""
    if memcg is not None and memcg.usage_kib is not None:
        path = "a memory cgroup" if memcg.path is None else memcg.path
        beside = f" for {path}, which used {bytes_text(memcg.usage_kib * 1024)}; no limit was reached"
    return Finding(
        claim=f"a BPF policy called the OOM killer{beside}",
        pages=None,
        certainty=CERTAIN,
        because=case.evidence("oom-kill", "memory cgroup", "free", *(check.zone.title for check in relaxed[:1])),
        refuted_by="nothing: the constraint names the policy",
        next="see which BPF program is attached (bpftool struct_ops list) and at what pressure it kills",
    )


def _shown_on_request(case: OomCase) -> Finding | None:
    if case.event.kind != SHOWN:
        return None
    asked_for = "sysrq" in case.event.remarks
    relaxed = [check for check in case.analysis.zones if check.is_above_high]
    free = free_in(relaxed)
    available = free + (case.accounting.pages("page cache") if asked_for else 0)
    at_ease = [check for check in relaxed if (check.free_pages or 0) >= _TWICE * (_high(check, case) or 1)]
    is_most = case.knows_ram and case.share(sum(check.managed_pages or 0 for check in at_ease)) >= _MOST
    is_most = is_most and not any(check.passes is False and check.managed_pages for check in case.analysis.zones)
    if not relaxed or (case.share(available) < _PLENTY_FREE and not is_most):
        return None
    return Finding(
        claim="nothing failed: the memory state was printed with "
        f"{case.share_words(case.accounting.pages('free') or free)} free",
        pages=free,
        certainty=CERTAIN if asked_for or case.share(free) >= 0.5 else LIKELY,
        because=case.evidence("Mem-Info", "free", "pages RAM"),
        refuted_by="an OOM or allocation failure header above these lines, lost from this log",
        next="look at what asked for the listing: SysRq-m, a hung-task or stall report",
    )


def _high(check: ZoneCheck, case: OomCase) -> int | None:
    kib = check.zone.kib.get("high")
    return None if kib is None else kib // (case.event.page_kib or 4)


def _of_page_fault(case: OomCase) -> Finding | None:
    if not case.is_page_fault:
        return None
    relaxed = [check for check in case.analysis.zones if check.is_above_high]
    free = case.accounting.pages("free") or _free_on_lists(case)
    if not relaxed and case.share(free) < _PLENTY_FREE:
        return None
    return Finding(
        claim=f"a page fault returned VM_FAULT_OOM although {case.share_words(free)} ({case.size(free)}) was free",
        pages=free,
        certainty=CERTAIN if relaxed else LIKELY,
        because=case.evidence("header", "free", *(check.zone.title for check in relaxed[:1])),
        refuted_by="a memory cgroup OOM of the same task just before: then its limit is the reason",
        next="look above for what failed in the fault: a bad swap entry, an I/O error, a memory cgroup at its limit",
    )


def _nearly_all_free(case: OomCase) -> Finding | None:
    free = case.accounting.pages("free")
    knows = case.knows_ram or "free" in case.event.counters
    if not knows or case.share(free) < _NEARLY_ALL_FREE:
        return None
    if any(check.passes is False and check.managed_pages == 0 for check in case.allowed):
        return None
    if case.allowed and all(check.passes is False for check in case.allowed):
        return None
    return Finding(
        claim=f"{case.share_words(free)} ({case.size(free)}) was free: memory was not short"
        + (", the allocator may not have been ready" if _is_early(case) else ""),
        pages=free,
        certainty=CERTAIN if case.knows_ram else LIKELY,
        because=case.evidence("header", "free", "pages RAM"),
        refuted_by="a request that only a small zone can serve",
        next="early in boot: look for the initialisation that runs before the allocator's"
        if _is_early(case)
        else "look at what asked: a mask, a node or a zone that it may not leave, or a page fault's own error",
    )


def _is_early(case: OomCase) -> bool:
    """Whether it happened within the kernel's own start: nobody had a process yet."""
    at_ns = case.event.at_ns
    return at_ns is not None and at_ns < _START_NS and not case.event.processes


def _before_the_allocator(case: OomCase) -> Finding | None:
    sizes = [zone.kib["managed"] for zone in case.event.zones if "managed" in zone.kib]
    if not sizes or any(sizes):
        return None
    return Finding(
        claim="no page was managed yet: the allocator was asked before it was ready",
        pages=None,
        certainty=CERTAIN,
        because=case.evidence("header", *(check.zone.title for check in case.analysis.zones[:2])),
        refuted_by="a zone that manages pages",
        next="early in boot: look for the initialisation that runs before the allocator's",
    )


def _watermark_too_high(case: OomCase) -> Finding | None:
    marks = [check for check in case.allowed if check.needed_pages is not None and check.managed_pages]
    held = [check for check in marks if check.needed_pages and check.needed_pages > 0.5 * (check.managed_pages or 1)]
    free = free_in(case.allowed)
    if not marks or len(held) < len(marks) or case.share(free) < 0.25:
        return None
    return Finding(
        claim=f"the watermarks keep {case.share_words(free)} from being used",
        pages=free,
        certainty=CERTAIN if case.share(free) >= _MOST else LIKELY,
        because=case.evidence(*(check.zone.title for check in held[:2])),
        refuted_by="a vm.min_free_kbytes that is not that large",
        next=f"set vm.min_free_kbytes{_boost_factor(case)} back to what the kernel chose",
    )


def _boost_factor(case: OomCase) -> str:
    return " (and vm.watermark_boost_factor)" if advice.has(case.release, 5, 0) else ""


def _above_high(case: OomCase) -> Finding | None:
    if case.event.kind not in (KILL, PANIC, FAILURE) or case.request.may_wait is not True:
        return None
    relaxed = [check for check in case.allowed if check.is_above_high and check.has_block]
    # A report is printed after the failure, when a task that exits may have given back some of its memory.
    if case.share(usable_in(relaxed)) < _PLENTY_FREE:
        return None
    zone = max(relaxed, key=lambda check: check.usable_pages or 0)
    return Finding(
        claim=f"{zone.zone.title} had {case.size(zone.usable_pages or 0)} free, above its high watermark, in blocks "
        "large enough",
        pages=zone.usable_pages,
        certainty=LIKELY,
        because=case.evidence("header", zone.zone.title, f"free lists of {zone.zone.title}"),
        refuted_by="memory given back between the failure and the report",
        next="look for a limit beside free memory: a memory cgroup, a cpuset, a nodemask, an order of its own",
    )


def _free_on_lists(case: OomCase) -> int:
    page_kib = case.event.page_kib or 4
    return sum(zone.kib.get("on free lists", 0) for zone in case.event.zones) // page_kib


_REASONS: tuple[Callable[[OomCase], Finding | None], ...] = (
    _by_hand,
    _larger_than_ram,
    _of_no_bytes,
    _not_mapped,
    _refused,
    _forbidden,
    _of_bpf,
    _shown_on_request,
    _could_be_reclaimed,
    _of_page_fault,
    _nearly_all_free,
    _before_the_allocator,
    _watermark_too_high,
    _above_high,
)
