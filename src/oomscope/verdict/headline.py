"""The first line of an OOM event: who, how much, what happened, when. Every output begins with it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from oomscope.attribution.oom.zones import free_in
from oomscope.model.oom_event import (
    CMA_FAILURE,
    FAILURE,
    FOREIGN,
    KILL,
    MEMCG_KILL,
    PANIC,
    SHOWN,
    SLAB_FAILURE,
    VMALLOC_FAILURE,
    Memcg,
    Process,
    Victim,
    own_pages,
)
from oomscope.units import AT_ONE_MOMENT, bytes_text
from oomscope.verdict.oom.case import (
    ATOMIC_RESERVE,
    FRAGMENTATION,
    HIDDEN_KERNEL,
    HUGETLB,
    LOWMEM_ZONE,
    MEMCG_LIMIT,
    PAGE_CACHE,
    SHMEM,
    SLAB,
    STACKS_TABLES,
    USER_ANON,
    Cause,
    OomCase,
)
from oomscope.verdict.oom.kernel_stacks import tables_bytes
from oomscope.verdict.oom.lowmem_zone import exhausted
from oomscope.verdict.oom.memcg_limit import is_below
from oomscope.verdict.oom.user_anon import largest_by_kill

_MOST = 0.5
_NEARLY_ALL = 0.7  # of process memory, that the rows must have for anything to follow from them
_SHARED = 1.15  # rows that have more than that of process memory count shared pages several times
_SUBJECTS = {
    SHMEM: "tmpfs and shared memory",
    PAGE_CACHE: "page cache",
    HUGETLB: "the huge page pool",
    STACKS_TABLES: "page tables and kernel stacks",
    SLAB: "slab caches",
}


@dataclass(frozen=True, slots=True)
class Headline:
    """`who` is emphasised where an output can; `text` follows it directly."""

    who: str
    text: str


@dataclass(frozen=True, slots=True)
class _Subject:
    who: str
    text: str
    pid: int | None = None
    tells_the_end: bool = False


def headline(case: OomCase, cause: Cause) -> Headline:
    """The line for the cause that the event is explained by."""
    subject = _subject(case, cause)
    ended = "" if subject.tells_the_end else outcome(case, subject.pid)
    return Headline(subject.who, f"{subject.text}{ended}{when(case)}")


def when(case: OomCase) -> str:
    """` (Sep 29 08:12:34)`, ` (1234.567890 s after boot)`."""
    if not case.moment:
        return ""
    return f" ({case.moment})" if case.event.stamp is not None else f" ({case.moment} after boot)"


def outcome(case: OomCase, named_pid: int | None = None) -> str:
    """`; the kernel killed mysqld (pid 1234)`; `it` where the line names that process already."""
    event = case.event
    if event.kind == PANIC:
        return "; the kernel panicked"
    victims = event.victims
    if not victims and "no killable processes" in event.lines:
        return "; no process was left to kill"
    if victims:
        victim = victims[0]
        killer = "the kernel" if event.kind != FOREIGN else _killer(case)
        verb = "chose" if victim.is_announced else "killed"
        pid = f" (pid {victim.pid})" if victim.pid else ""
        whom = "it" if named_pid is not None and victim.pid == named_pid else f"{victim.comm}{pid}"
        more = f" and {len(victims) - 1:,} more" if len(victims) > 1 else ""
        return f"; {killer} {verb} {whom}{more}"
    if event.kind in (FAILURE, SLAB_FAILURE, CMA_FAILURE, VMALLOC_FAILURE) and event.asked.comm is not None:
        return f"; an allocation by {_requester(case)} failed"
    if event.kind in (KILL, MEMCG_KILL) and event.asked.comm is not None and case.request.order != -1:
        return f"; an allocation by {_requester(case)} called the OOM killer"
    return ""


def _killer(case: OomCase) -> str:
    return "a killer in user space" if case.event.killer is None else case.event.killer.name


def _requester(case: OomCase) -> str:
    asked = case.event.asked
    return f"{asked.comm}" + ("" if asked.pid is None else f" (pid {asked.pid})")


def _subject(case: OomCase, cause: Cause) -> _Subject:
    """Who or what holds the memory, or why the request failed where nobody's memory is the reason."""
    pages = cause.finding.pages
    if cause.oom_class == MEMCG_LIMIT:
        return _of_memcg(case, cause)
    if cause.oom_class == USER_ANON and pages is not None:
        return _of_processes(case, pages)
    if cause.oom_class == USER_ANON and (held := largest_by_kill(case)) is not None:
        return _Subject(held.who, f" held {held.size}", held.pid)
    if cause.oom_class == HIDDEN_KERNEL and pages is not None:
        return _Subject("", f"{_of_ram(case, pages)} is unaccounted for: the kernel or a driver took it")
    if cause.oom_class in _SUBJECTS and pages is not None:
        return _of_kind(case, cause, pages)
    failed = _of_request(case, cause)
    if failed is not None:
        return failed
    # Whom a killer in user space ended its own claim says.
    return _Subject("", cause.finding.claim, tells_the_end=case.event.kind == FOREIGN)


def _of_ram(case: OomCase, pages: int) -> str:
    """`4.6 of 5.5 GiB RAM`, `4.6 GiB of 124.9 GiB RAM`; without RAM the size alone."""
    ram, page_bytes = case.accounting.ram_pages, case.analysis.page_bytes
    if ram is None or case.accounting.is_of_zones or not 0 <= pages <= AT_ONE_MOMENT * ram:
        return case.size(pages)
    if page_bytes is None:
        return f"{pages:,} of {ram:,} pages of RAM"
    (part, part_unit), (whole, unit) = (bytes_text(each * page_bytes).split(" ") for each in (min(pages, ram), ram))
    return f"{part}{'' if part_unit == unit else f' {part_unit}'} of {whole} {unit} RAM"


def _of_processes(case: OomCase, held_pages: int) -> _Subject:
    """The process or the group that has most of it, as far as that is known, else all of them.

    Resident memory counts shared pages in each process: where the rows have more than there is, or one of them has, it
    says nothing of whose they are. What the kill line calls anonymous is the process's own.
    """
    groups = case.analysis.process_groups
    victim, own_of_victim = _victim(case)
    if victim is not None and _MOST * held_pages <= own_of_victim <= AT_ONE_MOMENT * held_pages:
        return _Subject(f"{victim.comm} (pid {victim.pid})", f" used {_of_ram(case, own_of_victim)}", victim.pid)
    used = f" used {_of_ram(case, held_pages)}"
    if not groups:
        return _Subject("processes", used)
    most, told = groups[0], sum(group.pages for group in groups)
    if told < _NEARLY_ALL * held_pages:
        return _Subject("processes", f"{used}; the task table in this log has only {case.size(told)} of it")
    largest = own_pages(most.largest)
    who = f"{most.comm} (pid {most.largest.pid})"
    name = who if most.count == 1 else f"{most.count:,} {most.comm}"
    if most.counts_shared and told > _SHARED * held_pages:
        return _Subject("processes", f"{used}, the largest by resident memory {name}")
    # The victim's own is what its kill line says, which is less than that: the rest of its row is shared.
    is_own = victim is None or not own_of_victim or most.largest.pid != victim.pid
    if is_own and _MOST * held_pages <= largest <= AT_ONE_MOMENT * held_pages:
        return _Subject(who, f" used {_of_ram(case, largest)}", most.largest.pid)
    if most.count > 1 and _MOST * held_pages <= most.pages <= AT_ONE_MOMENT * held_pages:
        return _Subject(name, f" used {_of_ram(case, most.pages)}")
    return _Subject("processes", f"{used}, most of it in none: the largest {name}")


def _victim(case: OomCase) -> tuple[Victim | None, int]:
    """Whom the kernel killed first, and its anonymous pages by the kill line; 0 where they are not known in pages."""
    page_kib = case.event.page_kib
    if not case.event.victims or page_kib is None or case.event.kind == FOREIGN:
        return None, 0
    victim = case.event.victims[0]
    return victim, victim.kib.get("anon-rss", 0) // page_kib


def _of_kind(case: OomCase, cause: Cause, pages: int) -> _Subject:
    most = max(case.event.processes, key=tables_bytes, default=None)
    page_bytes = case.analysis.page_bytes
    if cause.oom_class == STACKS_TABLES and most is not None and page_bytes is not None:
        own = tables_bytes(most, page_bytes) // page_bytes
        if _MOST * pages <= own <= AT_ONE_MOMENT * pages:
            return _Subject(f"{most.comm} (pid {most.pid})", f" used {_of_ram(case, own)} for page tables", most.pid)
    if cause.oom_class == SLAB and case.event.slab_caches and case.event.page_kib is not None:
        cache = max(case.event.slab_caches, key=lambda each: each.total_kib)
        own = cache.total_kib // case.event.page_kib
        if _MOST * pages <= own <= AT_ONE_MOMENT * pages:
            return _Subject(f"slab cache {cache.name}", f" used {_of_ram(case, own)}")
    if cause.oom_class == SLAB and not case.accounting.rows:
        return _Subject("", cause.finding.claim)
    return _Subject(_SUBJECTS[cause.oom_class], f" used {_of_ram(case, pages)}")


def _of_request(case: OomCase, cause: Cause) -> _Subject | None:
    """Where the request itself could not be served, whoever holds the memory."""
    free = cause.finding.pages
    who = _requester(case) if case.event.asked.comm is not None else ""
    order = case.request.order
    if cause.oom_class == FRAGMENTATION and order is not None and order > 0 and free is not None and case.request.pages:
        text = f"no free block of {case.size(case.request.pages)} (order {order})" + (f" for {who}" if who else "")
        return _Subject(
            "",
            f"{text}, with {case.size(free)} free in smaller or unsuitable blocks{_kill_only(case)}",
            tells_the_end=True,
        )
    if cause.oom_class == ATOMIC_RESERVE and who:
        usable = sum(check.usable_pages or 0 for check in case.allowed)
        left = f"the {case.size(usable)} still free are reserved" if usable else "none was free"
        return _Subject(who, f" got no memory: its request may not wait, and {left}", tells_the_end=True)
    if cause.oom_class == LOWMEM_ZONE and case.allowed:
        zones = list(dict.fromkeys(check.zone.name for check in case.allowed))
        free_pages, cma_pages = free_in(case.allowed), sum(check.cma_pages for check in case.allowed)
        left = f" ({case.size(free_pages)} free, {case.size(cma_pages)} of it CMA)" if cma_pages else ""
        beyond = "" if case.event.kind == SHOWN else ", and the request may use no other"
        return _Subject("", f"{exhausted(zones)}{left}{beyond}")
    return None


def _kill_only(case: OomCase) -> str:
    return outcome(case) if case.event.victims or case.event.kind == PANIC else ""


def _of_memcg(case: OomCase, cause: Cause) -> _Subject:
    """The process that has most of the group's memory, else the group itself."""
    memcg = case.event.memcg
    if memcg is None:
        return _Subject("", cause.finding.claim)
    group = f"memory cgroup {memcg.path}" if memcg.path else "its memory cgroup"
    limit = memcg.bound_kib
    victim = case.event.victims[0] if case.event.victims else None
    of_limit = "" if limit is None else f" of {bytes_text(limit * 1024)}{_which(memcg)}"
    found = None if limit is None or is_below(memcg) else _of_group_member(case, memcg, limit)
    if found is not None:
        process, kib = found
        size = f"{_part_of(kib, limit or kib)}{_which(memcg)}"
        return _Subject(f"{process.comm} (pid {process.pid})", f" used {size} in {group}", process.pid)
    who = group if memcg.path else "a memory cgroup"
    below = f", at {bytes_text((memcg.usage_kib or 0) * 1024)} when this was printed" if is_below(memcg) else ""
    held, of_victim = "", 0 if victim is None else victim.kib.get("anon-rss", 0)
    if victim is not None and of_victim and (limit is None or of_victim <= limit):
        held = f"; {victim.comm} (pid {victim.pid}) held {bytes_text(of_victim * 1024)}"
    return _Subject(
        who, f" reached its limit{of_limit}{below}{held}", victim.pid if victim is not None and held else None
    )


def _of_group_member(case: OomCase, memcg: Memcg, limit: int) -> tuple[Process, int] | None:
    """The process that has most of what the group may have, and how much in kB; None where that is not sure."""
    page_kib = case.event.page_kib
    most = max(case.event.processes, key=own_pages, default=None)
    if most is None or page_kib is None:
        return None
    victim, own_of_victim = _victim(case)
    if victim is not None and victim.pid == most.pid and "anon-rss" in victim.kib:
        most = replace(most, values={**most.values, "rss_anon": own_of_victim})
    with_swap = memcg.reached == "memory+swap"
    kib = (own_pages(most) + (most.values.get("swapents", 0) if with_swap else 0)) * page_kib
    if "rss_anon" not in most.values:  # resident memory counts what is shared, too
        anon = memcg.stat.get("anon", memcg.stat.get("rss"))
        told_kib = sum(own_pages(process) for process in case.event.processes) * page_kib
        if told_kib > _SHARED * limit or (anon is not None and own_pages(most) * page_kib * 1024 > _SHARED * anon):
            return None
    return (most, kib) if _MOST * limit <= kib <= AT_ONE_MOMENT * limit else None


def _which(memcg: Memcg) -> str:
    return "" if memcg.reached == "memory" else f" {memcg.reached}"


def _part_of(kib: int, whole_kib: int) -> str:
    (part, part_unit), (whole, unit) = (bytes_text(each * 1024).split(" ") for each in (min(kib, whole_kib), whole_kib))
    return f"{part}{'' if part_unit == unit else f' {part_unit}'} of {whole} {unit}"
