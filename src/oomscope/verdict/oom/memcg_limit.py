"""memcg-limit: a memory cgroup reached its own limit; the machine need not have been short of memory."""

from __future__ import annotations

from oomscope.model.oom_event import MEMCG_KILL, SLAB_FAILURE, Memcg
from oomscope.model.verdict import CERTAIN, LIKELY, Finding
from oomscope.units import AT_ONE_MOMENT, bytes_text, share_text
from oomscope.verdict import advice
from oomscope.verdict.oom.case import MEMCG_LIMIT, Cause, OomCase

_NEARLY = 0.98  # of a limit: what is charged in batches is given back meanwhile
_NEVER = -1000
_JUST_BEFORE_NS = 60 * 10**9
_PLENTY_FREE = 0.1
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
    if (event.constraint or "").startswith("CONSTRAINT_BPF"):
        return None  # see no-shortage
    if event.memcg is None:
        return _of_slab(case) or _behind_a_page_fault(case)
    memcg = event.memcg
    words = [f"{_name(memcg)} {_reached(memcg)}"]
    filled = filled_with(memcg)
    if filled:
        words.append(f"it {'held' if is_below(memcg) else 'is filled with'} {filled}")
    words += [each for each in (_hidden_in_children(memcg), _nobody_to_kill(case)) if each]
    return Cause(
        MEMCG_LIMIT,
        Finding(
            claim="; ".join(words),
            pages=None,
            certainty=CERTAIN,
            because=case.evidence("memory cgroup", "oom-kill", *(f"victim {v.pid}" for v in event.victims[:1])),
            refuted_by="a global OOM report at the same time",
            next=_next(case, memcg),
        ),
    )


def is_below(memcg: Memcg) -> bool:
    """Whether the group was below all its limits when the report was printed, as far as they are told."""
    limit = memcg.bound_kib
    return limit is not None and memcg.usage_kib is not None and memcg.usage_kib < _NEARLY * limit


def _name(memcg: Memcg) -> str:
    return f"the memory cgroup {memcg.path}" if memcg.path else "a memory cgroup"


def _reached(memcg: Memcg) -> str:
    limit = memcg.bound_kib
    of = "" if memcg.reached == "memory" else f" of {memcg.reached}"
    if limit is None:
        return f"reached its limit{of}"
    if is_below(memcg):
        used = bytes_text((memcg.usage_kib or 0) * 1024)
        return f"had run into its limit{of} ({bytes_text(limit * 1024)}); when this was printed it used {used}"
    return f"reached its limit{of}: {bytes_text(limit * 1024)}"


def _hidden_in_children(memcg: Memcg) -> str:
    """Up to 5.1 each group of a hierarchy has statistics of its own: those of the one at the limit may be all zero."""
    if memcg.stat and not fillers(memcg) and (memcg.usage_kib or 0) > 0 and not is_below(memcg):
        return "the statistics in this log are those of the group itself, all 0: what its children hold is cut off"
    return ""


def _nobody_to_kill(case: OomCase) -> str:
    if "no killable processes" not in case.event.lines:
        return ""
    adjusted = [p for p in case.event.processes if p.values.get("oom_score_adj") == _NEVER]
    others = [p for p in case.event.processes if p not in adjusted and p.values.get("rss") == 0]
    words = ["no killable process was left in it"]
    if adjusted:
        words.append(
            f"{', '.join(dict.fromkeys(p.comm for p in adjusted[:3]))} may not be killed (oom_score_adj -1000)"
        )
    if others:
        words.append(f"{others[0].comm} ({others[0].pid}) has been emptied and has not gone yet (rss 0)")
    return ": ".join((words[0], ", ".join(words[1:]))) if len(words) > 1 else words[0]


def _of_slab(case: OomCase) -> Cause | None:
    """A slab cache whose name carries a group is that group's own (5.8 and before): its charge was refused."""
    request = case.event.slab_request
    if request is None or request.group is None or case.event.kind != SLAB_FAILURE:
        return None
    has_option = advice.has(case.release, 4, 5)
    return Cause(
        MEMCG_LIMIT,
        Finding(
            claim=f"the slab cache {request.cache} of the memory cgroup (container) {request.group} could not grow: "
            "kernel memory is charged to that group, so its limit is the likely reason, not the machine's memory",
            pages=None,
            certainty=LIKELY,
            because=case.evidence("header", "slab cache"),
            refuted_by="a page allocation failure of the whole machine at the same moment",
            next="compare memory.usage_in_bytes and memory.kmem.usage_in_bytes of that group with their limits"
            + ("; cgroup.memory=nokmem on the command line stops charging kernel memory" if has_option else ""),
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
    limit = None if before.memcg is None else before.memcg.bound_kib
    of = "" if limit is None else f" ({bytes_text(limit * 1024)}{_kernel_memory(before.memcg)})"
    return Cause(
        MEMCG_LIMIT,
        Finding(
            claim=f"the memory cgroup{path} was at its limit{of} just before, and a page fault in it called the OOM "
            f"killer of the whole machine with {case.share_words(free)} free",
            pages=None,
            certainty=LIKELY,
            because=(*case.evidence("header", "free"), f"line {before.first_line}: {before.kind}"),
            refuted_by="a task outside the group that caused the page fault",
            next="the group's limit is what to look at; kernels from 5.16 on do not kill here any more",
        ),
    )


def _kernel_memory(memcg: Memcg | None) -> str:
    """Where most of the group is in none of its statistics: the kernel's own, as `kmem: usage` has it."""
    if memcg is None or not memcg.usage_kib:
        return ""
    named = sum(size for _, size in fillers(memcg))
    return ", most of it kernel memory" if named * 2 < memcg.usage_kib * 1024 else ""


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


def filled_with(memcg: Memcg) -> str:
    """`anonymous memory (2.3 GiB, 99.7 %)`: what fills most of the group."""
    total = (memcg.usage_kib or 0) * 1024 or sum(size for _, size in fillers(memcg))
    parts = [
        f"{title} ({bytes_text(size)}, {share_text(size / total)})"
        for title, size in fillers(memcg)[:2]
        if 0.1 * total < size <= AT_ONE_MOMENT * total
    ]
    return " and ".join(parts)


def _next(case: OomCase, memcg: Memcg) -> str:
    group = memcg.path or "the group"
    most = fillers(memcg)[:1]
    if most and most[0][0] == "kernel slab":
        return (
            f"killing its processes cannot help: kernel objects are charged to {group}; "
            f"see /proc/slabinfo, or {advice.slab_owners(case.release)}"
        )
    if most and most[0][0] == "tmpfs and shared memory":
        return f"find the files: df -t tmpfs in {group}'s mount namespace; a kill gives none of that back"
    counters = [name for name in ("file_dirty", "file_writeback", "dirty", "writeback") if memcg.stat.get(name)]
    dirty = sum(memcg.stat[name] for name in counters)
    if most and most[0][0] == "page cache" and 2 * dirty > most[0][1]:
        return f"see memory.stat of {group} for {' and '.join(counters)}: dirty pages wait for writeback"
    is_v1 = _is_v1(memcg) or not advice.has(case.release, 4, 5)
    limit = {"memory+swap": "memory.memsw.limit_in_bytes", "kmem": "memory.kmem.limit_in_bytes"}.get(
        memcg.reached, "memory.limit_in_bytes" if is_v1 else "memory.max"
    )
    if "no killable processes" in case.event.lines:
        return f"see why what is left in {group} does not exit or may not be killed; then its limit ({limit})"
    return f"{_setting(group, limit, is_v1=is_v1)} if the work needs it, else find what grew: memory.stat of {group}"


def _is_v1(memcg: Memcg) -> bool:
    """Version 1 prints its own names: `memory+swap: usage`, `kmem: usage`, statistics in KB (mm/memcontrol-v1.c)."""
    return memcg.is_v1 or not {"rss", "cache"}.isdisjoint(memcg.stat)


def _setting(group: str, limit: str, *, is_v1: bool) -> str:
    """Where that limit is set, by who made the group (its path says)."""
    if group.startswith("UB "):
        return f"raise the container's limit (vzctl set {group.removeprefix('UB ')} --ram SIZE)"
    if "kubepods" in group or "/crio-" in group or "cri-containerd" in group:
        return "raise resources.limits.memory of that container"
    if "docker" in group:
        return "raise the container's limit (docker update --memory=SIZE --memory-swap=SIZE)"
    if "/lxc" in group:
        return "raise the container's limit (lxc config set NAME limits.memory SIZE)"
    if ".service" in group or ".scope" in group or ".slice" in group:
        unit = next(
            (part for part in reversed(group.split("/")) if part.endswith((".service", ".scope", ".slice"))), ""
        )
        return f"raise {'MemoryLimit=' if is_v1 else 'MemoryMax='} of {unit}"
    return f"raise {limit} of {group}"
