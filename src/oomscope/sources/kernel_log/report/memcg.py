"""The memory cgroup that reached its limit, and its statistics (mm/memcontrol.c mem_cgroup_print_oom_meminfo())."""

from __future__ import annotations

import re
from collections.abc import Mapping

from oomscope.model.oom_event import Memcg
from oomscope.sources.kernel_log.report.draft import Draft, ReportSection
from oomscope.text import either, printable

WHOLE_GROUP = "memory.oom.group"  # under that name its line is kept
_MEMCG_TASK = re.compile(rb"Task in (?P<task>\S+) killed as a result of limit of (?P<path>\S+)")
_MEMCG_GROUP = re.compile(rb"Tasks in (?P<path>\S+) are going to be killed due to memory\.oom\.group set")
_MEMCG_USAGE = re.compile(
    rb"(?P<what>memory(?:\+swap)?|swap|kmem|tcpmem): usage (?P<usage>\d{1,20})kB, limit (?P<limit>\d{1,20})kB,? "
    rb"failcnt (?P<failcnt>\d{1,20})"
)
_MEMCG_STATS = re.compile(rb"Memory cgroup stats(?: for (?P<path>\S+?))?:(?P<rest>.*)$")
_MEMCG_PAIR = re.compile(rb"(?<![a-z0-9_])(?P<name>[a-z][a-z0-9_]{1,40}) (?P<value>\d{1,20})(?=\s|$)")
# What of memory.stat counts events, in pages or calls (mm/memcontrol.c memcg_vm_event_stat[], memcg_page_state_unit());
# all else of it is in bytes.
_MEMCG_EVENTS = re.compile(
    r"(?:pg(?!tables)|workingset_|thp_(?!pages)|zswp|swp|numa_|drop_|allocstall|compact_|balloon_|htlb_|unevictable_pgs_)"
)
_MEMCG_PAIRS = re.compile(rb"\s*+(?:[a-z][a-z0-9_]{1,40} \d{1,20}+(?:\s++|$))++(?:[a-z][a-z0-9_]{0,40})?$")
_MEMCG_STAT_KB = re.compile(rb"(?<![a-z_])(?P<name>[a-z_]{2,40}): ?(?P<value>\d{1,20})KB")
_MEMCG_STAT_INLINE = re.compile(rb"(?<= )(?P<name>[a-z_]{2,40}) (?P<value>\d{1,20})(?= |$)")
_OF_MEMCG = either(rb"Task", rb": usage ", rb"Memory cgroup stats")


def is_count(name: str) -> bool:
    """Whether a name of memory.stat counts events, and is no amount."""
    return _MEMCG_EVENTS.match(name) is not None


def begins(text: bytes) -> bool:
    """Whether a line tells of a memory cgroup's OOM by itself."""
    return any(form.match(text) is not None for form in (_MEMCG_TASK, _MEMCG_GROUP, _MEMCG_USAGE, _MEMCG_STATS))


class MemoryCgroup(ReportSection):
    """`stat` in bytes, `counts` of events, by the names of memory.stat."""

    __slots__ = ("counts", "stat")
    first_bytes = b"abcdefghijklmnopqrstuvwxyzTM"

    def __init__(self, draft: Draft) -> None:
        super().__init__(draft)
        self.stat: dict[str, int] = {}
        self.counts: dict[str, int] = {}

    def take(self, text: bytes, number: int) -> bool:
        """See ReportSection."""
        if self.draft.section != "memcg stat" and _OF_MEMCG.search(text) is None:
            return False
        match = _MEMCG_TASK.match(text) or _MEMCG_GROUP.match(text)
        if match is not None:
            self.draft.is_of_memcg(printable(match["path"]), number, text)
            if match.re is _MEMCG_GROUP:
                self.draft.at(WHOLE_GROUP, number, text)
            return True
        match = _MEMCG_USAGE.match(text)
        if match is not None:
            usage, limit = self.draft.number(match["usage"], text), self.draft.number(match["limit"], text)
            what = match["what"].decode()
            for name, value in (
                ("usage", usage),
                ("limit", limit),
                ("failcnt", self.draft.number(match["failcnt"], text)),
            ):
                self.draft.memcg.setdefault(f"{what} {name}", value)
            self.draft.is_of_memcg(None, number, text)
            return True
        match = _MEMCG_STATS.match(text)
        if match is not None:
            self.draft.section = "memcg stat"
            self.draft.is_of_memcg(None if match["path"] is None else printable(match["path"]), number, text)
            for stat in _MEMCG_STAT_KB.finditer(match["rest"]):
                value = self.draft.number(stat["value"], text)
                is_kept = stat["name"].decode() in self.stat or self.draft.has_room("counters", self.stat)
                if value is not None and is_kept:  # one line per group of the hierarchy, each with what is its own
                    name = stat["name"].decode()
                    self.stat[name] = self.stat.get(name, 0) + value * 1024
            for stat in _MEMCG_STAT_INLINE.finditer(match["rest"]):
                self._keep_stat(stat, text)
            return True
        if self.draft.section != "memcg stat" or _MEMCG_PAIRS.match(text) is None:
            return False
        for pair in _MEMCG_PAIR.finditer(text):
            self._keep_stat(pair, text)
        return True

    def _keep_stat(self, pair: re.Match[bytes], text: bytes) -> None:
        value, name = self.draft.number(pair["value"], text), pair["name"].decode()
        kept = self.counts if is_count(name) else self.stat
        if value is not None and self.draft.has_room("counters", kept):
            kept.setdefault(name, value)

    def memcg(self) -> Memcg:
        """The group, as far as it is told."""
        number = {name: value for name, value in self.draft.memcg.items() if isinstance(value, int)}
        path = self.draft.memcg.get("path")
        reached = next((what for what in ("memory", "memory+swap", "kmem") if _is_reached(number, what)), "memory")
        return Memcg(
            path=path if isinstance(path, str) else None,
            reached=reached,
            usage_kib=number.get(f"{reached} usage"),
            limit_kib=number.get(f"{reached} limit"),
            failcnt=number.get(f"{reached} failcnt"),
            stat=self.stat,
            counts=self.counts,
            line=number.get("line"),
            is_v1=not number.keys().isdisjoint({"memory+swap usage", "kmem usage"}),
        )


def _is_reached(numbers: Mapping[str, int], what: str) -> bool:
    """Whether one of a group's limits is what it ran into."""
    usage, limit = numbers.get(f"{what} usage"), numbers.get(f"{what} limit")
    return usage is not None and limit is not None and usage >= 0.98 * limit
