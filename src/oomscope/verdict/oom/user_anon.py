"""user-anon: processes hold most of RAM in memory of their own."""

from __future__ import annotations

from dataclasses import dataclass

from oomscope.model import oom_analysis as rows
from oomscope.model.oom_analysis import ProcessGroup
from oomscope.model.oom_event import PANIC, Process, Victim, own_pages
from oomscope.model.verdict import LIKELY, POSSIBLE, Finding
from oomscope.units import bytes_text, counted, pages_text
from oomscope.verdict import advice
from oomscope.verdict.oom.case import USER_ANON, Cause, OomCase

OOM_CLASS = USER_ANON
_SHOWN = 3
_MOST_OF_THEM = 0.7
_WORTH_KILLING = 0.05
_LARGE_VICTIM_KIB = 64 << 10
_VERY_LARGE_KIB = 1 << 20


def pages(case: OomCase) -> int:
    """Anonymous memory, on the lists or locked."""
    accounting = case.accounting
    # What is in the swap cache is of processes where one of them was killed; shared memory stands there, too.
    swap_cache = accounting.pages(rows.SWAP_CACHE) if case.event.victims else 0
    return (
        swap_cache
        + accounting.pages(rows.ANON, rows.LRU)
        + accounting.isolated_pages(rows.ISOLATED_ANON)
        + locked_pages(case)
    )


def locked_pages(case: OomCase) -> int:
    """As much of the unevictable pages as must be process memory that is locked (mlock).

    Locked pages are anonymous or of mapped files, and `mapped` counts the latter, locked or not: what is locked beyond
    it is anonymous.
    """
    unevictable = case.accounting.pages(rows.UNEVICTABLE)
    mlocked = sum(zone.kib.get("mlocked", 0) for zone in case.event.zones) // (case.event.page_kib or 4)
    mapped = case.event.counters.get("mapped")
    return 0 if mapped is None else max(min(unevictable, mlocked) - mapped, 0)


def finding(case: OomCase, held_pages: int, certainty: str) -> Finding:
    """Which processes, whether swap could have helped, and whether a kill could."""
    accounting = case.accounting
    who = ", ".join(_named(case, group) for group in case.analysis.process_groups[:_SHOWN])
    lru = accounting.pages(rows.LRU)
    what = "process memory" + (", page cache included: this kernel counts them together" if lru else " (anonymous)")
    return Finding(
        claim=f"{what}: {case.size(held_pages)}, {case.share_words(held_pages)}"
        + (f"; the largest: {who}" if who else "")
        + _not_in_the_rows(case, held_pages),
        pages=held_pages,
        certainty=certainty,
        because=case.evidence("active_anon", "active", "pages RAM", "free swap kib", "task table"),
        refuted_by="a /proc/meminfo of that moment with a small AnonPages",
        next=_next(case, accounting.swap_total_pages),
    )


def _named(case: OomCase, group: ProcessGroup) -> str:
    """`mysqld (1234) 737.0 MiB and 2.0 GiB of swap`, `21 apache2 420.2 MiB, shared pages counted in each`."""
    swap = f" and {case.size(group.swap_pages)} of swap" if group.swap_pages * 4 > group.pages else ""
    if group.count == 1:
        return f"{group.comm} ({group.largest.pid}) {case.size(group.pages)}{swap}"
    largest = own_pages(group.largest)
    if largest >= _MOST_OF_THEM * group.pages:
        rest = f" and {group.count - 1:,} more of that name {case.size(group.pages - largest)}"
        return f"{group.comm} ({group.largest.pid}) {case.size(largest)}{rest}{swap}"
    shared = ", shared pages counted in each" if group.counts_shared else ""
    return f"{group.count:,} {group.comm} {case.size(group.pages)}{swap}{shared}"


def _not_in_the_rows(case: OomCase, held_pages: int) -> str:
    """What of the process memory the table's rows do not have: then some are cut off, and the largest may be."""
    processes = case.event.processes
    if not processes or case.accounting.pages(rows.LRU):
        return ""
    told = sum(map(own_pages, processes))
    if told >= _MOST_OF_THEM * held_pages:
        return ""
    return f"; the {counted(len(processes), 'row')} of the task table in this log have only {case.size(told)} of that"


@dataclass(frozen=True, slots=True)
class Held:
    """What a process held by a kill line or its row: `who` with its pid, `kib` with its swap, `size` as text."""

    who: str
    pid: int
    kib: int
    size: str
    is_victim: bool


def largest_by_kill(case: OomCase) -> Held | None:
    """Without counters: the process that held most, by kill lines and rows; None where that is not much."""
    page_kib = case.event.page_kib or 4
    # A group's limit is of RAM, unless it says so.
    swapped = {} if case.event.memcg is not None else {p.pid: p.values.get("swapents", 0) for p in case.event.processes}
    held = [(own_pages(p) * page_kib, False, p.pid, p.comm) for p in case.event.processes]
    # Of one process in both, the kill line: it is told in kB and of the moment.
    held += [(_resident_kib(v), True, v.pid, v.comm) for v in case.event.victims if _resident_kib(v)]
    if not held:
        return None
    kib, is_victim, pid, comm = max(held, key=lambda each: (each[0] + swapped.get(each[2], 0) * page_kib, each[1]))
    swap_kib = swapped.get(pid, 0) * page_kib
    if kib + swap_kib < _LARGE_VICTIM_KIB:
        return None
    size = bytes_text(kib * 1024)
    if case.event.page_kib is None and not is_victim:  # rows are in pages; a kill line has kB
        size = f"{pages_text(kib // page_kib)} ({size} with pages of {page_kib} KiB)"
    return Held(f"{comm} (pid {pid})", pid, kib + swap_kib, f"{size}{_and_swap(swap_kib)}", is_victim)


def by_kill(case: OomCase) -> Cause | None:
    """Without counters: the processes and victims alone tell that there was much user memory, not that it was most."""
    held = largest_by_kill(case)
    if held is None:
        return None
    killed = ", which was killed," if held.is_victim else ""
    victims = [victim for victim in case.event.victims if _resident_kib(victim)][:1]
    return Cause(
        USER_ANON,
        Finding(
            claim=f"{held.who}{killed} held {held.size}; what else held RAM is not in this log",
            pages=None,
            certainty=LIKELY if held.kib >= _VERY_LARGE_KIB else POSSIBLE,
            because=case.evidence("oom-kill", *(f"victim {v.pid}" for v in victims), "task table"),
            refuted_by="the Mem-Info of this event, which is not in this log",
            next=f"find the whole report: {advice.whole_log(has_ended=case.event.kind == PANIC)}",
        ),
    )


def _resident_kib(victim: Victim) -> int:
    return victim.kib.get("anon-rss", 0) + victim.kib.get("shmem-rss", 0)


def _and_swap(kib: int) -> str:
    return f" and {bytes_text(kib * 1024)} of swap" if kib >= _LARGE_VICTIM_KIB else ""


def top_processes(case: OomCase) -> list[tuple[Process, int]]:
    """Processes by the memory of their own (rss_anon and swap where told, else rss), the most first."""
    return sorted(((p, own_pages(p)) for p in case.event.processes), key=lambda pair: -pair[1])


def _next(case: OomCase, swap_total_pages: int | None) -> str:
    most = top_processes(case)
    groups = case.analysis.process_groups
    limit = advice.memory_limit(case.release)
    if most and case.share(most[0][1]) < _WORTH_KILLING:
        name = f" of {groups[0].comm}" if groups[0].count > 1 else ""
        helped = f"no single process holds a twentieth of RAM, so killing one frees little: limit the number{name}"
    elif case.event.victims:
        victim = case.event.victims[0]
        kib = victim.kib.get("anon-rss", 0)
        helped = f"killing {victim.comm} freed {bytes_text(kib * 1024)}" if kib else f"{victim.comm} was killed"
        largest = groups[0].comm if groups and groups[0].pages * (case.event.page_kib or 4) > 2 * kib else ""
        whom = f"{largest}, the largest," if largest and largest != victim.comm else "it"
        helped += f". If it recurs, limit {whom} {limit} or look for a leak"
    else:
        helped = f"limit the largest {limit}, or look for a leak"
    return helped + ("; swap or zram would have given time" if swap_total_pages == 0 else "")
