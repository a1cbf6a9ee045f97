"""The first paragraph: what happened, who held how much, why it could not be freed, how sure that is."""

from __future__ import annotations

import re

from oomscope.model import oom_analysis as rows
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
)
from oomscope.model.ranked import CulpritRow
from oomscope.model.verdict import CERTAIN, LIKELY
from oomscope.units import bytes_text, duration_text, share_text, size_text
from oomscope.verdict.oom.case import (
    ATOMIC_RESERVE,
    FRAGMENTATION,
    LOWMEM_ZONE,
    MEMCG_LIMIT,
    NO_SHORTAGE,
    UNDETERMINED,
    VMALLOC_SPACE,
    Cause,
    OomCase,
)
from oomscope.verdict.oom.why_this_victim import why_this_victim

_LITTLE = 0.02
_NOT_HOLDERS = (VMALLOC_SPACE, NO_SHORTAGE, LOWMEM_ZONE, FRAGMENTATION, ATOMIC_RESERVE)
# Classes that do not turn on what could have been reclaimed.
_NOT_ABOUT_RECLAIM = (MEMCG_LIMIT, VMALLOC_SPACE, NO_SHORTAGE, UNDETERMINED)
_BEGINS_WITH_A_NAME = re.compile(r"\S+(?: \(pid |, not the kernel's OOM killer)")
_NAMED = 3  # victims of one event that a sentence has room for


def story(case: OomCase, causes: list[Cause], named: CulpritRow | None, apart_ns: int | None) -> tuple[str, ...]:
    """Sentences, in this order. `named` is the greatest culprit that other evidence names, `apart_ns` its age."""
    first, *beside = causes
    sentences = [what_happened(case), _sentence(first.finding.claim)]
    if beside and first.oom_class in _NOT_HOLDERS and beside[0].finding.pages is not None:
        sentences.append("Largest user of RAM: " + beside[0].finding.claim + ".")
    if named is not None:
        sentences.append(_named(case, named, apart_ns))
    if first.oom_class not in _NOT_ABOUT_RECLAIM and (why := _why_not_freed(case, first.oom_class)):
        sentences.append(why)
    if why := why_this_victim(case):
        sentences.append(why)
    sentences.append(_how_sure(case, first))
    return tuple(sentences)


def what_happened(case: OomCase) -> str:
    """Who asked for what, when, and how it ended."""
    event = case.event
    asked = event.asked
    when = _when(case)
    who = asked.comm or "a task whose line is lost"
    if asked.pid is not None:
        who += f" (pid {asked.pid})"
    if event.kind == SLAB_FAILURE:
        cache = "a slab cache" if event.slab_request is None else f"the slab cache {event.slab_request.cache}"
        return f"{when}{cache} could not grow ({case.gfp})."
    if event.kind == CMA_FAILURE:
        return f"{when}a request for contiguous memory (CMA) failed."
    if event.kind == VMALLOC_FAILURE and asked.comm is None:
        size = "" if asked.size_bytes is None else f" of {bytes_text(asked.size_bytes)}"
        return f"{when}a mapping of kernel addresses{size} could not be made{case.caller}."
    if event.kind == SHOWN:
        return _sentence("the kernel printed its memory state; the log shows no failed request", when)
    if event.kind == FOREIGN:
        names = ", ".join(victim.comm for victim in event.victims[:_NAMED])
        names += f" and {len(event.victims) - _NAMED:,} more" if len(event.victims) > _NAMED else ""
        killer = "a killer in user space" if event.killer is None else event.killer.name
        if names and all(victim.is_announced for victim in event.victims):
            return f"{when}{killer} asked {names} to end; the log says that it did not."
        return f"{when}{killer} ended {names}." if names else f"{when}{killer} killed nobody in this log."
    if case.request.order == -1:
        return f"{when}an administrator called the OOM killer (SysRq-f){_ended(case)}."
    if event.kind == VMALLOC_FAILURE:
        size = " memory" if asked.size_bytes is None else f" {bytes_text(asked.size_bytes)}"
        return f"{when}{who} asked vmalloc for{size} and did not get it."
    if asked.comm is None and asked.order is None:
        what = "a memory cgroup was at its limit" if event.kind == MEMCG_KILL else "the kernel ran out of memory"
        return f"{when}{what}{_ended(case)}."
    gfp = f" ({case.gfp})" if case.gfp and case.gfp != "0x0" else ""
    if event.slab_request is not None and event.kind == FAILURE:
        gfp += f" for the slab cache {event.slab_request.cache}"
    asked_for = f" of {case.needs}" if (case.request.order or 0) > 0 else ""
    request = f"a page fault of {who}" if case.is_page_fault else f"an allocation{asked_for}{gfp} by {who}"
    if event.kind == FAILURE and "stall" in event.remarks:
        return _sentence(f"{request} had been waiting for long when this was printed", when)
    if event.kind == FAILURE:
        return _sentence(f"{request}{case.caller} failed; the kernel printed a warning and killed nobody", when)
    where = ""
    if event.memcg is not None:
        path = "" if event.memcg.path is None else f" {event.memcg.path}"
        where = f" in the memory cgroup{path}"
    return _sentence(f"{request} found no memory{where}{_ended(case)}", when)


def _when(case: OomCase) -> str:
    return f"{case.moment}: " if case.moment else ""


def _ended(case: OomCase) -> str:
    event = case.event
    if event.panic_message is not None and event.kind == PANIC:
        return f"; the kernel panicked: {event.panic_message}"
    victims = event.victims
    if not victims and "no killable processes" in event.lines:
        return "; no process was left to kill"
    if not victims:
        return "; the log does not show who was killed" if event.kind in (KILL, MEMCG_KILL) else ""
    victim = victims[0]
    if victim.is_announced:
        chosen = f"{victim.comm} (pid {victim.pid})"
        child = "" if victim.score is None else " or a child of it"
        return f"; the kernel chose {chosen}{child}; the log does not show who was killed"
    kib = victim.kib.get("anon-rss", 0) + victim.kib.get("shmem-rss", 0)
    held = f", which held {bytes_text(kib * 1024)}" if kib else ""
    more = f", and {len(victims) - 1:,} more" if len(victims) > 1 else ""
    return f"; the kernel killed {victim.comm} (pid {victim.pid}){held}{more}"


def _named(case: OomCase, row: CulpritRow, apart_ns: int | None) -> str:
    over = "" if row.stacks == 1 else f" over {row.stacks:,} stacks"
    when = ""
    if apart_ns is not None and abs(apart_ns) >= 10**9:
        when = f", {duration_text(abs(apart_ns))} {'before' if apart_ns > 0 else 'after'} this"
    verb = "grew slab caches to hold" if row.kinds == ("slab",) else "holds"
    return f"By allocation stacks, {row.culprit} {verb} {size_text(row.pages, case.analysis.page_bytes)}{over}{when}."


def _why_not_in_the_zone(case: OomCase) -> str:
    """What of the zones themselves could be reclaimed: page cache of others is of no use to the request."""
    names = ("active_file", "inactive_file")
    kib = [zone.kib.get(name) for zone in (check.zone for check in case.allowed) for name in names]
    told = [each for each in kib if each is not None]
    if not told:
        return ""
    where = " and ".join(dict.fromkeys(check.zone.name for check in case.allowed))
    return f"Of page cache {bytes_text(sum(told) * 1024)} lay in {where}, where it would have helped."


def _why_not_freed(case: OomCase, oom_class: str) -> str:
    accounting = case.accounting
    if not accounting.rows:
        return ""
    swap = accounting.swap_free_pages
    if oom_class == LOWMEM_ZONE:
        return _why_not_in_the_zone(case)
    file = accounting.pages(rows.FILE)
    slab = accounting.pages(rows.SLAB_RECLAIMABLE)
    is_told = True
    if accounting.pages(rows.LRU):
        words = [f"page cache is among the {case.size(accounting.pages(rows.LRU))} on the lists"]
    elif not file and not case.event.has_counters:
        words, is_told = ["the log does not show how much page cache"], False
    else:
        words = [f"{case.size(file)} of page cache" if file else "no page cache"]
    if slab:
        words.append(f"{case.size(slab)} of reclaimable slab")
    if accounting.swap_total_pages is None:
        swap_words = "the log does not show whether there was swap"
    elif accounting.swap_total_pages == 0:
        swap_words = "there is no swap"
    elif swap is not None and swap * 20 < accounting.swap_total_pages:
        swap_words = f"swap was full ({case.size(accounting.swap_total_pages)})"
    else:
        swap_words = f"{case.size(swap or 0)} of swap was free"
    little = is_told and case.share(accounting.reclaimable_pages) < _LITTLE
    begin = "Almost nothing was left to reclaim" if little else "Reclaimable"
    return f"{begin}: {' and '.join(words)}; {swap_words}."


def _how_sure(case: OomCase, first: Cause) -> str:
    accounting = case.accounting
    certainty = first.finding.certainty
    sure = {CERTAIN: "Certain", LIKELY: "Likely"}.get(certainty, "Possible")
    if accounting.problems:
        return f"{sure}; the report contradicts itself: {accounting.problems[0]}."
    if case.is_mostly_reserved:
        reserved = case.size(accounting.reserved_pages or 0)
        return f"{sure}; {reserved} more are reserved: for a crash kernel or a hypervisor, or not initialised yet."
    if case.event.cut:
        return f"{sure}; the log lacks {', '.join(case.event.cut)}."
    if accounting.unexplained_pages is not None and accounting.ram_pages:
        share = accounting.unexplained_pages / accounting.ram_pages
        if share < 0:
            return f"{sure}; the counters add up to more than RAM: they were not read at one moment."
        return f"{sure}; {share_text(share)} of RAM is unaccounted for."
    return f"{sure}."


def _sentence(claim: str, when: str = "") -> str:
    """With a capital and a full stop; a name, and the log's own stamp before it, stay as they are in the log."""
    is_as_it_is = bool(when) or _BEGINS_WITH_A_NAME.match(claim) is not None
    return f"{when}{claim if is_as_it_is else claim[:1].upper() + claim[1:]}."


def one_line(case: OomCase) -> str:
    """The event in a line, for a list of many."""
    event = case.event
    if event.panic_message is not None and event.kind == PANIC:
        ended = f"panic: {event.panic_message}"
    elif event.kind == FOREIGN and event.victims:
        name = "a killer in user space" if event.killer is None else event.killer.name
        ended = f"{name} ended {event.victims[0].comm} ({event.victims[0].pid})"
    elif event.victims:
        verb = "chose" if event.victims[0].is_announced else "killed"
        ended = f"{verb} {event.victims[0].comm} ({event.victims[0].pid})"
    else:
        ended = event.kind
    order = "" if event.asked.order is None else f" order {event.asked.order}"
    who = event.asked.comm or "?"
    return f"{who}{order}: {ended}"
