"""Which lines an event may begin with: its header, or any other where the header was lost or never printed."""

from __future__ import annotations

import re

from oomscope.model.oom_event import (
    CMA_FAILURE,
    FAILURE,
    FOREIGN,
    KILL,
    MEMCG_KILL,
    PANIC,
    SHOWN,
    SLAB_FAILURE,
)
from oomscope.sources.kernel_log.prefixes import LogLine
from oomscope.sources.kernel_log.report import (
    cma,
    counters,
    end,
    free_lists,
    memcg,
    nodes,
    slab,
    slub,
    stack,
    tasks,
    totals,
    user_space,
    zones,
)
from oomscope.sources.kernel_log.report.header import OPENING_WORDS
from oomscope.text import either

# Words of which each line that begins an event has one: most lines are asked for no more.
_BEGINNING_WORDS = (
    *(rb"Mem-[Ii]nfo:", rb"active_anon:", rb"Sys[Rr]q", rb"sys[Rr]q", rb"oom-kill:", rb"ut of [Mm]emory"),
    *(rb"Kernel panic", rb"Task", rb": usage ", rb"pid *\]", rb"Killed process", rb"lowmemorykiller", rb"earlyoom"),
    *(rb"oomd", rb"nohang", rb"Killing ", rb"Kill '", rb"Reclaim '", rb"oom_memcg=", rb"VM: killing"),
    *(rb"Low memory!", rb"low memory!", rb"to process", rb"ing process", rb"Found the victim", rb"emory cgroup"),
    *(rb"oom_reaper", rb"SLUB: ", rb"cma_alloc", rb"CMA", rb"PFNs busy", rb"Unreclaimable slab", rb"_alloc"),
    *(rb"out_of_memory", rb"oom_kill_process", rb"dump_header"),
)
_BEGINNING = either(*OPENING_WORDS, *_BEGINNING_WORDS)
# What a line has, whatever stands before it, that may matter where no event is open; the words of a header by
# themselves, for a mailer may have broken it between them. See also consumer_lines.py.
MAY_BEGIN_WORDS = (
    *OPENING_WORDS,
    *_BEGINNING_WORDS,
    *(rb"invoked", rb"oom-killer", rb"page alloc", rb"allocation failure", rb"vmalloc", rb"vmap ", rb"vmemmap"),
    *(rb"_anon:", rb"_file:", rb"evictable:", rb"slab_recl", rb"mapped:", rb"pagetables:", rb"bounce:"),
    *(rb"reclaimable:", rb"free(?:_pcp)?:", rb"dirty:", rb"writeback:", rb"shmem:", rb"unstable:", rb"free_cma:"),
    *(rb"lowmem_reserve", rb"\*(?<=\d\*)\d", rb"hugepages_total", rb"memory\.oom\.group", rb"Active:"),
    *(rb"pages(?<=\d pages)\b", rb"reserved pages", rb"pagecache pages", rb"\] +\d{1,10} +\d{1,9} +-*\d{1,18} "),
    *(rb"all [Tt]race:", rb"cma: ", rb"Comm: ", rb"comm: ", rb"KB {1,60}\d", rb"replaying previous"),
    rb"Memory allocations",
)
# Forms that stand in a report only, each with the bytes that it can begin with.
_OF_A_REPORT: tuple[tuple[re.Pattern[bytes], bytes], ...] = (
    (counters.COUNTERS, counters.Counters.first_bytes),
    (nodes.NODE, nodes.Nodes.first_bytes),
    (zones.ZONE, zones.Zones.first_bytes),
    (zones.RESERVE, zones.Zones.first_bytes),
    (free_lists.FREE_LISTS, free_lists.FreeLists.first_bytes),
    (totals.HUGE, totals.Totals.first_bytes),
    (totals.OF_A_TAIL, totals.Totals.first_bytes),
    (tasks.ROW_ALONE, b"["),
    (slab.TITLE, b"U"),
    (slab.ROW, bytes(range(0x21, 0x7F))),
)
_MAY_STAND = tuple(tuple(form for form, first in _OF_A_REPORT if byte in first) for byte in range(256))


def may_begin(line: LogLine) -> bool:
    """Whether a line has a word of those with which an event begins, an open one or not."""
    return _BEGINNING.search(line.text) is not None


def is_of_a_report(line: LogLine) -> bool:
    """Whether a line is one that stands in a report only: where none is open, the beginning of this one is lost."""
    text = line.text
    return bool(text) and any(form.match(text) is not None for form in _MAY_STAND[text[0]])


def begins_in_its_trace(line: LogLine) -> str | None:
    """The kind of event that a frame tells of: with no event open, the lines before its stack are lost."""
    printer = stack.printed_by(line.text)
    return None if printer is None else {"oom": KILL, "memcg": MEMCG_KILL}.get(printer, FAILURE)


def is_left_of_a_kill(line: LogLine) -> bool:
    """Whether the reaper names whom it emptied: the last line of a kill, and all that may be left of it."""
    return end.REAPED.match(line.text) is not None


def begins_alone(line: LogLine) -> str | None:
    """The kind of event that a line may begin where no event is open: its header was lost, or was never printed.

    It is asked for lines that `may_begin`.
    """
    text = line.text
    if counters.is_title(text) or (counters.COUNTERS.match(text) is not None and b"active_anon:" in text):
        return SHOWN
    if (
        end.SUMMARY.match(text) is not None
        or end.KILL_LINE.match(text) is not None
        or end.KILLED_OLD.match(text)
        or end.NO_VICTIM.match(text)
    ):
        return KILL
    if end.OF_CONTAINER.match(text) is not None or end.is_cut_summary(text):
        return MEMCG_KILL
    if end.is_panic_of_oom(text):
        return PANIC
    if memcg.begins(text):
        return MEMCG_KILL
    if slub.UNABLE.match(text) is not None:
        return SLAB_FAILURE
    if cma.begins(text):
        return CMA_FAILURE
    if tasks.TASKS_HEAD.match(text) is not None or (
        (match := end.KILLED.match(text)) is not None and b"total-vm" in match["rest"]
    ):
        return KILL
    return FOREIGN if user_space.is_of_user_space(text) else None
