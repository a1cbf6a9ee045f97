"""The lines of one event put together: each goes to the sections that it can be of, in their order."""

from __future__ import annotations

import re
from collections.abc import Iterable

from oomscope import bounds
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
    Asked,
    Node,
    OomEvent,
    Zone,
)
from oomscope.sources.kernel_log.prefixes import LogLine
from oomscope.sources.kernel_log.report import end
from oomscope.sources.kernel_log.report.call_sites import CallSites
from oomscope.sources.kernel_log.report.cma import CmaLines
from oomscope.sources.kernel_log.report.counters import Counters
from oomscope.sources.kernel_log.report.draft import Draft, ReportSection
from oomscope.sources.kernel_log.report.end import End
from oomscope.sources.kernel_log.report.free_lists import FreeLists
from oomscope.sources.kernel_log.report.header import Context, Header, opens
from oomscope.sources.kernel_log.report.memcg import MemoryCgroup
from oomscope.sources.kernel_log.report.nodes import Nodes
from oomscope.sources.kernel_log.report.slab import Slab
from oomscope.sources.kernel_log.report.slub import SlabRequestLines
from oomscope.sources.kernel_log.report.stack import CallTrace
from oomscope.sources.kernel_log.report.tasks import Tasks
from oomscope.sources.kernel_log.report.totals import Totals
from oomscope.sources.kernel_log.report.user_space import UserSpaceKills
from oomscope.sources.kernel_log.report.zones import Zones
from oomscope.text import printable

_CLIPPED_LINES = 4
# So many lines of others may stand within a report; more in its trace, whose frames have no word of their own.
_IDLE_LINES, _IDLE_LINES_OF_TRACE = 12, 60
_PAGE_KIB = (4, 8, 16, 32, 64, 256)
# In the order in which they are asked.
_SECTIONS: tuple[type[ReportSection], ...] = (
    Counters,
    Zones,
    FreeLists,
    Nodes,
    Totals,
    Tasks,
    Slab,
    CallSites,
    MemoryCgroup,
    End,
    Header,
    SlabRequestLines,
    CmaLines,
    UserSpaceKills,
    Context,
    CallTrace,
)
_TRACE = len(_SECTIONS) - 1
# What a line that is a frame and nothing else can be of.
_ONLY_TRACE = (_TRACE,)
_FRAME_ALONE = re.compile(
    rb"(?:\[<[0-9a-f]{8,16}>\] )?(?:\? )?[\w.]{1,120}\+0x[0-9a-f]{1,8}/0x[0-9a-f]{1,8}(?: \[\w{1,60}\])?\s*$"
)
# By the first byte of a line: the sections that it can be of, by their places in that order; without a word of
# `interest.py`, and with.
_MAY_TAKE_DULL, _MAY_TAKE = (
    tuple(
        tuple(
            place
            for place, section in enumerate(_SECTIONS)
            if byte in section.first_bytes and (may_begin or not section.has_words)
        )
        for byte in range(256)
    )
    for may_begin in (False, True)
)


class EventReader:
    """Takes the lines of one event, then gives it. `is_over` tells that it waits for no more."""

    def __init__(self, kind: str, first: LogLine, *, after_sysrq: bool = False) -> None:
        self.caller = first.caller
        self.first_line = first.number
        self.at_ns = first.at_ns
        self._first = first
        self._last_line = first.number
        self._draft = draft = Draft(kind)
        if after_sysrq:
            draft.remarks["sysrq-f"] = None
        self._counters, self._zones, self._nodes, self._totals = (
            Counters(draft),
            Zones(draft),
            Nodes(draft),
            Totals(draft),
        )
        self._tasks, self._slab, self._sites = Tasks(draft), Slab(draft), CallSites(draft)
        self._memcg, self._end, self._header = MemoryCgroup(draft), End(draft), Header(draft)
        self._slab_request = SlabRequestLines(draft, self._header.asked)
        self._cma = CmaLines(draft, self._header.asked)
        self._user_space = UserSpaceKills(draft)
        self._context, self._trace = Context(draft, self._header.asked), CallTrace(draft)
        self._sections: tuple[ReportSection, ...] = (
            *(
                self._counters,
                self._zones,
                FreeLists(draft, self._zones.zones),
                self._nodes,
                self._totals,
                self._tasks,
                self._slab,
                self._sites,
            ),
            *(
                self._memcg,
                self._end,
                self._header,
                self._slab_request,
                self._cma,
                self._user_space,
                self._context,
                self._trace,
            ),
        )
        self._unknown: list[tuple[int, str]] = []
        self._pending_unknown: list[tuple[int, bytes]] = []
        self._lengths: dict[int, int] = {}
        self._idle = 0

    @property
    def is_over(self) -> bool:
        """Whether what follows is no part of this event any more."""
        if self._idle <= bounds.EVENT_LINES_AFTER_END and self._draft.passed <= bounds.EVENT_LINES_PASSED:
            return False
        ended = self._end.panic is not None or bool(self._end.victims)
        patience = bounds.EVENT_LINES_AFTER_END if ended else bounds.EVENT_LINES
        return self._idle > patience or self._draft.passed > bounds.EVENT_LINES_PASSED

    @property
    def is_idle(self) -> bool:
        """Whether so many lines in a row were of no known form that its report is most likely over."""
        is_whole = self._draft.is_counting or not self._header.is_given
        return self._idle > (_IDLE_LINES if is_whole else _IDLE_LINES_OF_TRACE)

    def pass_lines(self, count: int) -> None:
        """So many more lines that are none of it."""
        self._idle += count

    @property
    def task_rows(self) -> int:
        """How many rows of the task table are held."""
        return len(self._tasks.processes)

    def keep_greatest_tasks(self, most: int) -> None:
        """Let all but the greatest rows of the task table go."""
        self._tasks.keep_greatest(most)

    def has_room_for(self, kind: str, line: LogLine) -> bool:
        """Whether a line that opens an event may be a part of this one: Mem-Info behind its header, a second header."""
        if self._draft.kind in (SLAB_FAILURE, CMA_FAILURE, FOREIGN):
            # Each request that fails says so: a storm of them is one event.
            return kind == self._draft.kind
        if kind in (KILL, MEMCG_KILL, PANIC) and opens(line) is None:
            # Kill lines and panics end the event that is open; after its end they begin another.
            return not self._end.is_behind(line.text)
        if kind == SHOWN:
            return not self._counters.values
        if kind in (SLAB_FAILURE, CMA_FAILURE):
            return not self._end.victims  # within a report they are a part of it
        if self._draft.kind != VMALLOC_FAILURE or self._counters.values:
            return False
        # Up to 4.x vmalloc warns twice: of its own size, and as a page allocation that failed.
        return kind == VMALLOC_FAILURE or (kind == FAILURE and not self._trace.frames)

    def take(self, line: LogLine) -> bool:
        """Take a line of the log; whether it was of a known form."""
        text = line.text
        if not text or text.isspace():
            return True
        draft, sections = self._draft, self._sections
        draft.length = line.length
        if draft.is_counting or "Mem-Info" in draft.lines:
            self._lengths[line.length] = self._lengths.get(line.length, 0) + 1
        if line.may_begin:
            asked = _MAY_TAKE[text[0]]
        else:
            asked = _ONLY_TRACE if _FRAME_ALONE.match(text) is not None else _MAY_TAKE_DULL[text[0]]
        for place in asked:
            if sections[place].take(text, line.number):
                self._idle = 0
                if place != _TRACE:
                    draft.passed = 0
                self._last_line = max(self._last_line, line.number)
                if self._pending_unknown:
                    room = bounds.UNKNOWN_LINES_KEPT - len(self._unknown)
                    self._unknown += [(at, printable(raw)) for at, raw in self._pending_unknown[:room]]
                    self._pending_unknown = []
                return True
        self._idle += 1
        if len(self._pending_unknown) < bounds.UNKNOWN_LINES_KEPT:
            self._pending_unknown.append((line.number, text[:300]))
        return False

    def event(self) -> OomEvent:
        """All that was taken."""
        draft, counters = self._draft, self._counters.values
        clipped_at = self._clipped_at()
        for length, name in self._counters.ends:
            if length == clipped_at:
                counters.pop(name, None)  # the cut may stand in the number
        panic = self._end.panic
        is_panic = panic is not None and end.is_of_oom(panic.encode())
        return OomEvent(
            kind=PANIC if is_panic else draft.kind,
            asked=Asked(stack=tuple(self._trace.frames), **self._header.asked),  # type: ignore[arg-type]
            at_ns=self.at_ns,
            stamp=self._first.stamp,
            release=self._context.release,
            arch=self._trace.arch,
            constraint=self._end.constraint,
            mems_allowed=draft.allowed,
            panic_message=panic,
            counters=counters,
            nodes=tuple(self._nodes.nodes.values()),
            zones=tuple(self._zones.zones.values()),
            huge_pages=tuple(self._totals.pools.values()),
            totals=self._totals.values,
            page_kib=self._page_kib(),
            slab_caches=tuple(self._slab.caches),
            call_sites=tuple(self._sites.sites),
            processes=tuple(self._tasks.processes),
            victims=self._end.killed() or tuple(self._user_space.victims.values()),
            memcg=self._memcg.memcg() if draft.kind == MEMCG_KILL else None,
            slab_request=self._slab_request.request,
            cma_request=self._cma.with_buffers(),
            remarks=tuple(draft.remarks),
            lines=draft.lines,
            texts=draft.texts,
            first_line=self._first.number,
            last_line=self._last_line,
            unknown=tuple(self._unknown),
            unknown_count=len(self._unknown),
            distrusted=tuple(draft.distrusted),
            left_out=draft.left_out,
            cut=tuple(self._cut(clipped_at)),
            killer=self._user_space.killer,
            host=None if self._first.host is None else printable(self._first.host),
        )

    def _clipped_at(self) -> int | None:
        """The width at which a terminal has cut the lines: several of just that length, and none that is longer."""
        longest = max(self._lengths, default=0)
        return longest if longest >= 40 and self._lengths[longest] >= _CLIPPED_LINES else None

    def _page_kib(self) -> int | None:
        """The page size by the report's own numbers: the smallest block of the free lists, else kB against pages."""
        zones, nodes = self._zones.zones.values(), self._nodes.nodes.values()
        smallest = {min(b.size_kib for b in zone.blocks) for zone in zones if zone.blocks}
        if len(smallest) == 1 and (size := smallest.pop()) in _PAGE_KIB:
            return size
        sizes = [
            size for size in (*self._sizes_of_counters(zones, nodes), *self._sizes_of_tasks()) if size in _PAGE_KIB
        ]
        best = max(set(sizes), key=sizes.count, default=None)
        return best if best is not None and sizes.count(best) * 2 > len(sizes) else None

    def _sizes_of_counters(self, zones: Iterable[Zone], nodes: Iterable[Node]) -> list[int]:
        """Sizes of a page, in KiB, by counters told in pages for all and in kB for each node or zone."""
        sizes = []
        for name in ("active_anon", "inactive_anon", "active_file", "inactive_file", "unevictable"):
            pages = self._counters.values.get(name, 0)
            of_nodes = sum(node.kib.get(name, 0) for node in nodes)
            of_zones = sum(zone.kib.get(name, 0) for zone in zones)
            sizes += [kib // pages for kib in (of_nodes, of_zones) if pages and kib and kib % pages == 0]
        return sizes

    def _sizes_of_tasks(self) -> list[int]:
        """The same by what the table has in pages of a victim, whose kill line has it in kB."""
        sizes, victims = [], self._end.victims
        for process in self._tasks.processes if victims else ():
            victim = victims.get(process.pid)
            for name, column in (("anon-rss", "rss_anon"), ("total-vm", "total_vm")):
                pages, kib = process.values.get(column, 0), 0 if victim is None else victim.kib.get(name, 0)
                if pages and kib and kib % pages == 0:
                    sizes.append(kib // pages)
        return sizes

    def _cut(self, clipped_at: int | None) -> list[str]:
        """Parts that begin and do not end."""
        draft, is_given = self._draft, self._header.is_given
        missing = [] if clipped_at is None else [f"the ends of its lines, cut at {clipped_at} columns"]
        if "Mem-Info" in draft.lines or self._counters.values:
            missing += self._cut_of_mem_info()
        elif draft.kind in (KILL, FAILURE, VMALLOC_FAILURE) and is_given:
            missing.append("Mem-Info")
        if draft.kind in (KILL, MEMCG_KILL) and is_given and not self._end.victims and self._end.panic is None:
            missing.append("who was killed")
        return missing

    def _cut_of_mem_info(self) -> list[str]:
        missing = []
        if "free" not in self._counters.values:
            missing.append("the counters of Mem-Info")
        if "pages RAM" not in self._totals.values:
            missing.append("the lines from `pages RAM` on")
        if not any(zone.kib for zone in self._zones.zones.values()):
            missing.append("the zones")
        elif not any(zone.blocks for zone in self._zones.zones.values()):
            missing.append("the free lists per order")
        return missing
