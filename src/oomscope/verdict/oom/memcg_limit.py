"""memcg-limit: a memory cgroup reached its own limit; the machine need not have been short of memory."""

from __future__ import annotations

from oomscope.model.oom_event import MEMCG_KILL, Memcg
from oomscope.model.verdict import CERTAIN, LIKELY, Finding
from oomscope.units import AT_ONE_MOMENT, bytes_text, share_text
from oomscope.verdict.oom.case import MEMCG_LIMIT, Cause, OomCase

_JUST_BEFORE_NS = 60 * 10**9
_PLENTY_FREE = 0.1
_UNLIMITED_KIB = 1 << 42  # the kernel prints PAGE_COUNTER_MAX for no limit
# memory.stat: what fills a group, by the names of cgroup v2 and, behind them, of v1 (mm/memcontrol.c).
_FILLERS = (
    ("anonymous memory", ("anon", "rss")),
    ("page cache", ("file", "cache")),
    ("kernel slab", ("slab",)),
    ("tmpfs and shared memory", ("shmem",)),
    ("kernel stacks", ("kernel_stack",)),
    ("page tables", ("pagetables",)),
    ("per-cpu memory", ("percpu",)),
    ("vmalloc", ("vmalloc",)),
    ("sockets", ("sock",)),
    ("zswap (compressed, in RAM)", ("zswap",)),
    ("huge pages", ("hugetlb",)),
    ("secondary page tables", ("sec_pagetables",)),
)


def rule(case: OomCase) -> Cause | None:
    """Claims it where the kernel says that a group's limit was the reason."""
    event = case.event
    if event.memcg is None:
        return _behind_a_page_fault(case)
    memcg = event.memcg
    name = f"the memory cgroup {memcg.path}" if memcg.path else "a memory cgroup"
    limit = None if memcg.limit_kib is None or memcg.limit_kib > _UNLIMITED_KIB else memcg.limit_kib
    of = "" if memcg.reached == "memory" else f" of {memcg.reached}"
    reached = f"reached its limit{of}" if limit is None else f"reached its limit{of}: {bytes_text(limit * 1024)}"
    filled = _filled_with(memcg)
    return Cause(
        MEMCG_LIMIT,
        Finding(
            claim=f"{name} {reached}" + (f"; it is filled with {filled}" if filled else ""),
            pages=None,
            certainty=CERTAIN,
            because=case.evidence("memory cgroup", "oom-kill", *(f"victim {v.pid}" for v in event.victims[:1])),
            refuted_by="a global OOM report at the same time",
            next=_next(memcg),
        ),
    )


def _behind_a_page_fault(case: OomCase) -> Cause | None:
    """A fault that a group's limit failed calls the global OOM killer (up to 5.15): a false alarm for the machine."""
    if not case.is_page_fault or not case.earlier:
        return None
    before = case.earlier[-1]
    at_ns, before_ns = case.event.at_ns, before.at_ns
    near = at_ns is None or before_ns is None or 0 <= at_ns - before_ns <= _JUST_BEFORE_NS
    free = case.accounting.pages("free")
    if before.kind != MEMCG_KILL or not near or case.share(free) < _PLENTY_FREE:
        return None
    path = "" if before.memcg is None or before.memcg.path is None else f" {before.memcg.path}"
    return Cause(
        MEMCG_LIMIT,
        Finding(
            claim=f"the memory cgroup{path} was at its limit just before, and a page fault in it called the OOM killer "
            f"of the whole machine with {case.share_words(free)} free",
            pages=None,
            certainty=LIKELY,
            because=(*case.evidence("header", "free"), f"line {before.first_line}: {before.kind}"),
            refuted_by="a task outside the group that caused the page fault",
            next="the group's limit is what to look at; kernels from 5.16 on do not kill here any more",
        ),
    )


def fillers(memcg: Memcg) -> list[tuple[str, int]]:
    """What fills the group, in bytes, the most first."""
    found = []
    for title, names in _FILLERS:
        value = next((memcg.stat[name] for name in names if name in memcg.stat), 0)
        if title == "page cache":
            value -= memcg.stat.get("shmem", 0)  # which is a part of it
        if value > 0:
            found.append((title, value))
    return sorted(found, key=lambda pair: -pair[1])


def _filled_with(memcg: Memcg) -> str:
    total = (memcg.usage_kib or 0) * 1024 or sum(size for _, size in fillers(memcg))
    parts = [
        f"{title} ({bytes_text(size)}, {share_text(size / total)})"
        for title, size in fillers(memcg)[:2]
        if 0.1 * total < size <= AT_ONE_MOMENT * total
    ]
    return " and ".join(parts)


def _next(memcg: Memcg) -> str:
    group = memcg.path or "the group"
    most = fillers(memcg)[:1]
    if most and most[0][0] == "kernel slab":
        return (
            f"killing its processes cannot help: kernel objects are charged to {group}; "
            "see /proc/slabinfo and, with slub_debug=U, /sys/kernel/debug/slab/*/alloc_traces"
        )
    if most and most[0][0] == "tmpfs and shared memory":
        return f"find the files: df -t tmpfs in {group}'s mount namespace; a kill gives none of that back"
    dirty = sum(memcg.stat.get(name, 0) for name in ("file_dirty", "file_writeback", "dirty", "writeback"))
    if most and most[0][0] == "page cache" and 2 * dirty > most[0][1]:
        return f"see memory.stat of {group} for file_dirty and file_writeback: dirty pages wait for slow writeback"
    return f"raise memory.max of {group} if the work needs it, else find what grew: memory.stat and memory.events there"
