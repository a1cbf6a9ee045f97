"""The OOM report and its relatives, line by line (mm/oom_kill.c, mm/show_mem.c, mm/page_alloc.c, mm/memcontrol.c).

One tolerant grammar for all kernels from 2.6.32 on: a line is known by its own form, fields by their printed names, the
task table by its header. `docs/formats/oom_report.md` lists the forms by release. What is of no known form is kept and
counted; what is missing stays missing.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sized
from dataclasses import replace

from oomscope import bounds
from oomscope.model.oom_event import (
    FAILURE,
    FOREIGN,
    KILL,
    MEMCG_KILL,
    PANIC,
    SHOWN,
    VMALLOC_FAILURE,
    Asked,
    CallSite,
    FreeBlocks,
    HugePages,
    Memcg,
    Node,
    OomEvent,
    Process,
    SlabCache,
    Victim,
    Zone,
    own_pages,
)
from oomscope.sources.kernel_log.prefixes import LogLine
from oomscope.text import printable

_CLIPPED_LINES = 4
_COMM_BYTES = 15  # TASK_COMM_LEN - 1

_MASK = rb"(?:(?:gfp_mask=|mode:)(?P<mask>0x[0-9a-f]{1,16})(?: ?\((?P<flags>[^)]{0,1000})\))?)"
_INVOKED = re.compile(rb"(?P<comm>.{1,80}?) ?invoked oom-killer: ?" + _MASK + rb",? *(?P<rest>.*)")
_INVOKED_EDITED = re.compile(rb"(?P<comm>\S.{0,40}?) invoked oom-killer\s*$")
_FAILED = re.compile(rb"(?P<comm>.{1,80}?): page allocation failure[:.] ?order:(?P<order>\d{1,3}),? *" + _MASK + rb"?")
_VMALLOC = re.compile(rb"(?P<comm>.{1,80}?): vmalloc error: size (?P<size>\d++)(?P<why>[^:]*?)(?:, " + _MASK + rb"|$)")
_VMALLOC_OLD = re.compile(rb"(?:(?P<comm>.{1,80}?): )?vmalloc: allocation failure[:,]? (?:allocated )?(?P<size>\d++)")
_VMAP = re.compile(rb"vmap allocation for size (?P<size>\d++) failed")
_VMEMMAP = re.compile(rb"(?P<comm>.{1,80}?): vmemmap alloc failure: order:(?P<order>\d{1,3}),? *" + _MASK)
_ORDER = re.compile(rb"order=(?P<order>-?\d{1,3})")
_VMALLOC_ORDER = re.compile(rb"page order (?P<order>\d{1,3})")
_ALLOWED = re.compile(rb"mems_allowed=(?P<allowed>[\d,-]*\d)")
_CPUSET = re.compile(rb"cpuset=(?P<cpuset>[^\s,]{1,200})")
_NODEMASK = re.compile(rb"nodemask=(?P<nodemask>[\d,-]*\d)")
_CPU_LINE = re.compile(
    rb"(?:CPU: \d{1,6} (?:UID: \d{1,10} )?)?P[Ii][Dd]: (?P<pid>\d{1,9})(?: TGID: \d{1,9})?,? "
    rb"[Cc]omm: (?P<comm>.{1,40}?) "
    rb"(?:Kdump: loaded )?(?:Not tainted|Tainted: [\[\]A-Z= ,_]{0,400}?) {0,40}(?P<release>\d\S{2,80})"
)
_CPUSET_LINE = re.compile(rb".{1,80} cpuset=(?P<cpuset>\S+) mems_allowed=(?P<allowed>[\d,-]*\d)")
_MEM_INFO = re.compile(rb"Mem-Info:")
_SYSRQ_SHOW = re.compile(rb"[Ss]ys[Rr]q ?: ?Show Memory")
_SYSRQ_KILL = re.compile(rb"[Ss]ys[Rr]q ?: ?Manual OOM execution")
_COUNTERS = re.compile(
    rb"\s*(?:active_anon|active_file|unevictable|slab_reclaimable|mapped|sec_pagetables|bounce|kernel_misc_reclaimable|free"
    rb"|free_pcp|inactive_anon|inactive_file|isolated_anon|isolated_file|dirty|writeback|slab_unreclaimable|shmem"
    rb"|pagetables|free_cma|unstable):\d++(?:\s|$)"
)
# Not within a word: a search that may begin at each of its letters looks at all the others again.
_COUNTER = re.compile(rb"(?<![a-z_])(?P<name>[a-z_]{1,60}+):(?P<value>\d++)(?!\S)")
_NODE = re.compile(rb"Node (?P<node>\d{1,4}) active_anon: *\d")
_ZONE = re.compile(rb"(?:Node (?P<node>\d{1,4}) )?(?P<name>[A-Z][A-Za-z0-9]{1,15}) free: *\d")
_FIELD = re.compile(
    rb"(?<![A-Za-z_])(?P<name>[A-Za-z_]{1,60}+(?:\([a-z]{1,20}\))?+): *+(?P<value>\d{1,25}+(?: \d{1,25}+)?) ?[kK] ?B"
)
_RESERVE = re.compile(rb"lowmem_reserve\[\]:(?P<pages>(?: *+\d{1,20}){1,64})")
_FREE_LISTS = re.compile(rb"(?:Node (?P<node>\d{1,4}) )?(?P<name>[A-Z][A-Za-z0-9]{1,15}): *(?=\d{1,12}\*\d)")
_BLOCKS = re.compile(rb"(?P<count>\d{1,12})\*(?P<size>\d{1,9}(?: \d{1,4})?) ?kB(?: \((?P<types>[A-Z]{1,8})\))?")
_LISTED = re.compile(rb"= (?P<total>\d{1,15})kB")
_HUGE = re.compile(
    rb"(?:Node (?P<node>\d{1,4}) )?hugepages_total=(?P<total>\d{1,15}) hugepages_free=(?P<free>\d{1,15}) "
    rb"hugepages_surp=(?P<surplus>\d{1,15}) hugepages_size=(?P<size>\d{1,12})kB"
)
_TOTALS: tuple[tuple[str, re.Pattern[bytes]], ...] = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        ("pagecache pages", rb"(?P<value>\d{1,18}) total pagecache pages"),
        ("swap cache pages", rb"(?P<value>\d{1,18}) pages in swap cache"),
        ("free swap kib", rb"Free swap *= *(?P<value>\d{1,18}) ?kB"),
        ("total swap kib", rb"Total swap *= *(?P<value>\d{1,18}) ?kB"),
        ("pages RAM", rb"(?P<value>\d{1,18}) pages (?:of )?RAM"),
        ("pages HighMem/MovableOnly", rb"(?P<value>\d{1,18}) pages (?:of )?(?:HighMem/MovableOnly|HIGHMEM|HighMem)"),
        ("pages reserved", rb"(?P<value>\d{1,18}) (?:pages reserved|reserved pages)"),
        ("pages cma reserved", rb"(?P<value>\d{1,18}) pages cma reserved"),
        ("pages hwpoisoned", rb"(?P<value>\d{1,18}) pages hwpoisoned"),
        ("pages shared", rb"(?P<value>\d{1,18}) pages shared"),
        ("pages non-shared", rb"(?P<value>\d{1,18}) pages non-shared"),
    )
)
_KNOWN_AND_PASSED = re.compile(
    rb"\s*$|Tainted: \[|\s*</?[A-Z]{3,9}>|Call [Tt]race:|Stack ?:|Hardware name:|Workqueue:"
    rb"|Modules linked in:|Code:|\s*[CS]ode: "
    rb"|(?:Node \d+ )?[A-Z]\w{1,15} per-cpu:|CPU +\d+: hi:|Swap cache stats:|COMPACTION is disabled"
    rb"|\s*[0-9a-f]{8,16}(?: [0-9a-f]{8,16})*\s*$|warn_alloc\w*: \d+ callbacks|SLUB: Unable to allocate"
    rb"|\s*cache: .*object size|\s*node \d+: slabs:|[ER][A-Z0-9]{2,3}: ?[0-9a-f]|RIP: |RSP: |CR2: |[DCF]S: |PKRU"
    rb"|ORIG_RAX|EIP: |Kernel Offset|---\[ end|SMP: stopping|Rebooting in|\[ dump_slubinfo|pstate:|[pl][cr] : |x\d+ ?:"
    rb"|oom_reaper: |Backtrace:|Exception |\s*\.\.\."
)
_FRAME = re.compile(
    rb"\s*(?:\[?<?[0-9a-fx]{8,18}>?\]? ?){0,2}(?P<guess>\? )?(?:\[<\w+>\] )?"
    rb"\(?(?P<frame>[\w.$]{1,120}(?:\+0x[0-9a-f]+/0x[0-9a-f]+)?(?: \[[\w ]+\])?)\)?"
    rb"(?: from \S+(?: \([^)]*\))?)?(?: \(unreliable\))?\s*$"
)
# Registers that only one architecture has, as its show_regs() prints them.
_REGISTERS = re.compile(
    rb"(?P<x86_64>RIP: |RSP: )|(?P<i386>EIP: )|(?P<arm64>pstate: )|(?P<ppc64>NIP: +[0-9a-f]{16}|NIP \[[0-9a-f]{16}\])"
    rb"|(?P<s390x>(?:Krnl|User) PSW : )|(?P<riscv64>epc : [0-9a-f]{16})"
)
_SLAB_TITLE = re.compile(rb"Unreclaimable slab info:")
_SLAB_HEAD = re.compile(rb"Name +Used +Total")
_SLAB_ROW = re.compile(rb"(?P<name>\S.{0,60}?) {1,60}(?P<used>\d{1,15})KB {1,60}(?P<total>\d{1,15})KB\s*$")
_SITES_TITLE = re.compile(rb"Memory allocations(?: \(profiling is currently turned (?P<state>on|off)\))?:")
_SITE = re.compile(
    rb"\s*+(?P<size>\d{1,19}(?:\.\d{1,3})?) ?(?P<unit>[kKMGTPEZY]?i?B)? ++(?P<calls>\d{1,15}) "
    rb"(?P<place>\S{1,200}:\d{1,7}) "
    rb"(?:\[(?P<module>[^\]]{1,64})\] )?func:(?P<function>\S{1,200})"
)
# lib/string_helpers.c string_get_size(), in both of its counts; K alone is the kernel's K() elsewhere.
_UNITS = {None: 1, b"B": 1, b"KB": 1 << 10, b"kB": 10**3}
_UNITS |= {b"%ciB" % letter: 1 << 10 * power for power, letter in enumerate(b"KMGTPEZY", 1)}
_UNITS |= {b"%cB" % letter: 10 ** (3 * power) for power, letter in enumerate(b"MGTPEZY", 2)}
_TASKS_TITLE = re.compile(rb"Tasks state \(memory values in pages\):")
_TASKS_HEAD = re.compile(rb"\[ *pid *\] +(?P<columns>uid +tgid +total_vm.{0,400}name)\s*$")
_TASK_NUMBER = re.compile(rb"-?\d{1,20}")
_TASK = re.compile(rb"\[ *(?P<pid>\d{1,9})\] +(?P<rest>\d.*)$")
_SUMMARY = re.compile(rb"oom-kill:constraint=(?P<constraint>\w{4,40}),(?P<rest>.*)")
_OOM_MEMCG = re.compile(rb"oom_memcg=(?P<path>[^,]*+(?:,(?!task_memcg=)[^,]*+)*+)")
_KILL_LINE = re.compile(
    rb"(?P<memcg>Memory cgroup o|O)ut of memory(?: \((?P<why>[^)]{1,60})\))?: [Kk]ill(?:ed)? process (?P<pid>\d{1,9})"
    rb"(?:, UID \d+,)? \((?P<comm>.{1,40}?)\)(?=,|\s|$)(?P<rest>.*)"
)
_KILLED = re.compile(rb"Killed process (?P<pid>\d{1,9})(?:, UID \d+,)? \((?P<comm>.{1,40}?)\)(?=,|\s|$)(?P<rest>.*)")
_SCORE = re.compile(rb"score (?P<score>\d{1,6})")
_RSS = re.compile(rb"(?P<name>total-vm|anon-rss|file-rss|shmem-rss): ?(?P<value>\d{1,20}) ?kB")
_MEMCG_TASK = re.compile(rb"Task in (?P<task>\S+) killed as a result of limit of (?P<path>\S+)")
_MEMCG_GROUP = re.compile(rb"Tasks in (?P<path>\S+) are going to be killed due to memory\.oom\.group set")
_MEMCG_USAGE = re.compile(
    rb"(?P<what>memory(?:\+swap)?|swap|kmem): usage (?P<usage>\d{1,20})kB, limit (?P<limit>\d{1,20})kB,? "
    rb"failcnt (?P<failcnt>\d{1,20})"
)
_MEMCG_STATS = re.compile(rb"Memory cgroup stats(?: for (?P<path>\S+?))?:(?P<rest>.*)$")
_MEMCG_PAIR = re.compile(rb"(?<![a-z0-9_])(?P<name>[a-z][a-z0-9_]{1,40}) (?P<value>\d{1,20})(?=\s|$)")
# What of memory.stat counts events, in pages or calls (mm/memcontrol.c memcg_vm_event_stat[], memcg_page_state_unit());
# all else of it is in bytes.
_MEMCG_EVENTS = re.compile(
    r"(?:pg(?!tables)|workingset_|thp_(?!pages)|zswp|swp|numa_|drop_|allocstall|compact_|balloon_|htlb_|unevictable_pgs_)"
)
_MEMCG_PAIRS = re.compile(rb"\s*+(?:[a-z][a-z0-9_]{1,40} \d{1,20}+(?:\s++|$))++$")
_MEMCG_STAT_KB = re.compile(rb"(?<![a-z_])(?P<name>[a-z_]{2,40}): ?(?P<value>\d{1,20})KB")
_MEMCG_STAT_INLINE = re.compile(rb"(?<= )(?P<name>[a-z_]{2,40}) (?P<value>\d{1,20})(?= |$)")
_NO_VICTIM = re.compile(rb"Out of memory and no killable processes")
_PANIC = re.compile(rb"(?<!end )Kernel panic - not syncing: (?P<message>.{1,200})")
_PANIC_OF_OOM = re.compile(rb"(?i)out of memory|deadlocked on memory|system-wide panic_on_oom")
_ANDROID = re.compile(rb"lowmemorykiller: Killing '(?P<comm>[^']{1,40})' \((?P<pid>\d{1,9})\)")
_STALL = re.compile(rb"(?P<comm>.{1,80}?): page allocation stalls for \d{1,12}ms, order:(?P<order>\d{1,3}),? *" + _MASK)
# Remarks of other parts of the kernel that decide a class or a next step.
_REMARKS: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    ("stall", re.compile(rb": page allocation stalls for ")),
    ("pagefault", re.compile(rb"pagefault_out_of_memory|VM_FAULT_OOM leaked")),
    ("exceeds", re.compile(rb"exceeds total pages")),
    (
        "vm_struct",
        re.compile(rb"vm_struct allocation failed|vmalloc_node_range for size \d{1,20} failed|vmap allocation for"),
    ),
    ("vmalloc pages", re.compile(rb"failed to (?:map|allocate) pages|allocated \d{1,20} of \d{1,20} bytes")),
    ("emergency", re.compile(rb"Unable to allocate memory on node")),
)
_REMARKED = re.compile(rb"alloc|memory|pages|VM_FAULT")
# Each with words that every such line has: most lines are not worth the form's own search.
_HEADERS: tuple[tuple[str, bytes, re.Pattern[bytes]], ...] = (
    (KILL, b"invoked oom-killer", _INVOKED),
    (FAILURE, b"page allocation failure", _FAILED),
    (VMALLOC_FAILURE, b"vmalloc error: size", _VMALLOC),
    (VMALLOC_FAILURE, b"vmalloc: allocation failure", _VMALLOC_OLD),
    (FAILURE, b"vmemmap alloc failure", _VMEMMAP),
    (FAILURE, b"page allocation stalls", _STALL),
    (VMALLOC_FAILURE, b"vmap allocation for size", _VMAP),
)
_TASK_COLUMNS_MOST = 20
_PAGE_KIB = (4, 8, 16, 32, 64, 256)


# Words of which each line that opens or begins an event has one: most lines are asked for no more.
_OPENING = re.compile(b"|".join(re.escape(words) for _, words, _ in _HEADERS))
_BEGINNING = re.compile(
    rb"Mem-Info:|active_anon:|[Ss]ys[Rr]q|oom-kill:|ut of memory|Kernel panic|Task|: usage |pid *\]|Killed process"
    rb"|lowmemorykiller"
)
# What a line has, whatever stands before it, that may matter where no event is open; the words of a header by
# themselves, for a mailer may have broken it between them. See also at_panic.py.
MAY_BEGIN = re.compile(
    _OPENING.pattern
    + b"|"
    + _BEGINNING.pattern
    + rb"|invoked|oom-killer|page alloc|allocation failure|vmalloc|vmap |vmemmap|_anon:|_file:|evictable:|slab_recl"
    rb"|mapped:|pagetables:|bounce:|reclaimable:|free(?:_pcp)?:|dirty:|writeback:|shmem:|unstable:|free_cma:"
    rb"|lowmem_reserve|\d\*\d|hugepages_total|memory\.oom\.group"
)
_IN_TOTALS = re.compile(rb"pages|swap")
_AT_END = re.compile(rb"oom-kill:|ut of memory|Killed process|Kernel panic|lowmemorykiller")
_OF_MEMCG = re.compile(rb"Task|: usage |Memory cgroup stats")


def opens(line: LogLine) -> str | None:
    """The kind of event that a line opens, whatever stands before it; None for any other line."""
    text = line.text
    if _OPENING.search(text) is None:
        return None
    for kind, words, pattern in _HEADERS:
        if words in text and pattern.match(text) is not None:
            return kind
    if line.is_stamped and b"invoked oom-killer" in text and _INVOKED_EDITED.match(text) is not None:
        return KILL
    return None


def _panic(text: bytes) -> re.Match[bytes] | None:
    return _PANIC.search(text) if b"Kernel panic" in text else None


def is_of_a_report(line: LogLine) -> bool:
    """Whether a line is one that stands in a report only: where none is open, the beginning of this one is lost."""
    forms = (_COUNTERS, _NODE, _ZONE, _RESERVE, _FREE_LISTS, _HUGE)
    return any(pattern.match(line.text) is not None for pattern in forms)


def is_sysrq_kill(line: LogLine) -> bool:
    """Whether an administrator has just called the OOM killer (drivers/tty/sysrq.c)."""
    return _SYSRQ_KILL.match(line.text) is not None


def begins_alone(line: LogLine) -> str | None:
    """The kind of event that a line may begin where no event is open: its header was lost, or was never printed."""
    text = line.text
    if _BEGINNING.search(text) is None:
        return None
    if _MEM_INFO.match(text) is not None or (_COUNTERS.match(text) is not None and b"active_anon:" in text):
        return SHOWN
    if _SYSRQ_SHOW.match(text) is not None:
        return SHOWN
    if _SUMMARY.match(text) is not None or _KILL_LINE.match(text) is not None or _NO_VICTIM.match(text) is not None:
        return KILL
    if (match := _panic(text)) is not None and _PANIC_OF_OOM.search(match["message"]) is not None:
        return PANIC
    if _MEMCG_TASK.match(text) is not None or _MEMCG_GROUP.match(text) is not None:
        return MEMCG_KILL
    if _MEMCG_USAGE.match(text) is not None:
        return MEMCG_KILL
    if _TASKS_HEAD.match(text) is not None or (
        (match := _KILLED.match(text)) is not None and b"total-vm" in match["rest"]
    ):
        return KILL
    if b"lowmemorykiller" in text and _ANDROID.search(text) is not None:
        return FOREIGN
    return None


class EventReader:
    """Takes the lines of one event, then gives it. `is_over` tells that it waits for no more."""

    def __init__(self, kind: str, first: LogLine, *, after_sysrq: bool = False) -> None:
        self.caller = first.caller
        self.at_ns = first.at_ns
        self._kind = kind
        self._first = first
        self._last_line = first.number
        self._asked: dict[str, object] = {}
        self._stack: list[str] = []
        self._release: str | None = None
        self._arch: str | None = None
        self._constraint: str | None = None
        self._allowed: str | None = None
        self._panic: str | None = None
        self._counters: dict[str, int] = {}
        self._nodes: dict[int, Node] = {}
        self._zones: dict[tuple[int | None, str], Zone] = {}
        self._huge: dict[tuple[int | None, int], HugePages] = {}
        self._zone: tuple[int | None, str] | None = None  # the last one told of
        self._totals: dict[str, int] = {}
        self._slabs: list[SlabCache] = []
        self._sites: list[CallSite] = []
        self._columns: list[str] = []
        self._processes: list[Process] = []
        self._victims: dict[int, Victim] = {}
        self._memcg: dict[str, int | str | None] = {}
        self._memcg_stat: dict[str, int] = {}
        self._memcg_counts: dict[str, int] = {}
        self._remarks: dict[str, None] = {"sysrq-f": None} if after_sysrq else {}
        self._ends: list[tuple[int, str]] = []  # lines that end in a counter: their length, and its name
        self._lines: dict[str, int] = {}
        self._texts: dict[int, str] = {}
        self._unknown: list[tuple[int, str]] = []
        self._unknown_count = 0
        self._pending_unknown: list[tuple[int, str]] = []
        self._distrusted: list[str] = []
        self._left_out: dict[str, int] = {}
        self._lengths: dict[int, int] = {}
        self._length = 0
        self._section = ""
        self._idle = 0
        self._header_given = False

    @property
    def is_over(self) -> bool:
        """Whether what follows is no part of this event any more."""
        ended = self._panic is not None or bool(self._victims)
        patience = bounds.EVENT_LINES_AFTER_END if ended else bounds.EVENT_LINES
        return self._idle > patience

    @property
    def task_rows(self) -> int:
        """How many rows of the task table are held."""
        return len(self._processes)

    def keep_greatest_tasks(self, most: int) -> None:
        """Let all but the greatest rows of the task table go."""
        if len(self._processes) > most:
            self._left_out["tasks"] = self._left_out.get("tasks", 0) + len(self._processes) - most
            self._processes = sorted(self._processes, key=lambda process: -own_pages(process))[:most]

    def has_room_for(self, kind: str, line: LogLine) -> bool:
        """Whether a line that opens an event may be a part of this one: Mem-Info behind its header, a second header."""
        if kind in (KILL, MEMCG_KILL, PANIC) and opens(line) is None:
            # Kill lines and panics end the event that is open; after its end they begin another.
            return not self._ended_before(line)
        if kind == SHOWN:
            return not self._counters
        if self._kind != VMALLOC_FAILURE or self._counters:
            return False
        # Up to 4.x vmalloc warns twice: of its own size, and as a page allocation that failed.
        return kind == VMALLOC_FAILURE or (kind == FAILURE and not self._stack)

    def _ended_before(self, line: LogLine) -> bool:
        if self._panic is not None:
            return True
        if _panic(line.text) is not None or _NO_VICTIM.match(line.text) is not None:
            return False
        return bool(self._victims) and _KILLED.match(line.text) is None

    def take(self, line: LogLine) -> bool:
        """Take a line of the log; whether it was of a known form."""
        text = line.text
        if not text or text.isspace():
            return True
        self._length = line.length
        if self._counters or "Mem-Info" in self._lines:
            self._lengths[line.length] = self._lengths.get(line.length, 0) + 1
        for take in _TAKERS[text[0]]:
            if take(self, text, line.number):
                self._idle = 0
                self._keep(line)
                return True
        self._idle += 1
        if len(self._pending_unknown) < bounds.UNKNOWN_LINES_KEPT:
            self._pending_unknown.append((line.number, printable(text[:300])))
        self._unknown_count += 1
        return False

    def _keep(self, line: LogLine) -> None:
        self._last_line = max(self._last_line, line.number)
        room = bounds.UNKNOWN_LINES_KEPT - len(self._unknown)
        self._unknown += self._pending_unknown[:room]
        self._pending_unknown = []

    # --- the grammar: each taker knows one form

    def _take_header(self, text: bytes, number: int) -> bool:
        if self._header_given and self._kind != VMALLOC_FAILURE:
            return False
        for _, words, pattern in _HEADERS:
            match = pattern.match(text) if words in text else None
            if match is None:
                continue
            told = match.groupdict()
            asked: dict[str, object] = {}
            if told.get("comm"):
                asked["comm"] = printable(told["comm"].strip())
            behind = _ORDER.search(told.get("rest") or b"") or _VMALLOC_ORDER.search(told.get("why") or b"")
            if told.get("order") is not None:
                asked["order"] = int(told["order"])
            elif behind is not None:
                asked["order"] = int(behind["order"])
            if told.get("mask") is not None:
                asked["gfp_mask"] = int(told["mask"], 16)
                flags = (told.get("flags") or b"").replace(b" ", b"")
                asked["gfp_flags"] = tuple(printable(flag) for flag in flags.split(b"|") if flag)
            if told.get("size") is not None:
                asked["size_bytes"] = self._number(told["size"], text)
            for name, value in asked.items():
                self._asked.setdefault(name, value)
            self._take_nodes(text)
            self._remember(text)
            self._at("header", number, text)
            self._header_given = True
            return True
        if _INVOKED_EDITED.match(text) is not None:
            self._asked["comm"] = printable(text.partition(b" invoked")[0])
            self._at("header", number, text)
            self._header_given = True
            return True
        return False

    def _take_context(self, text: bytes, number: int) -> bool:
        match = _CPU_LINE.match(text) if text[:1] in b"CPp" else None
        if match is not None:
            self._asked.setdefault("pid", int(match["pid"]))
            self._asked.setdefault("comm", printable(match["comm"]))
            self._release = self._release or printable(match["release"].rstrip(b","))
            self._section = "stack"
            return True
        match = _CPUSET_LINE.match(text) if b" cpuset=" in text else None
        if match is not None and not text.startswith(b"oom-kill:"):
            self._take_nodes(text)
            self._at("mems_allowed", number, text)
            return True
        return False

    def _take_nodes(self, text: bytes) -> None:
        """Which nodes the request may use; a cpuset other than the root, or a nodemask, confines it."""
        if (allowed := _ALLOWED.search(text)) is not None:
            self._allowed = printable(allowed["allowed"])
        cpuset, nodemask = _CPUSET.search(text), _NODEMASK.search(text)
        if nodemask is not None or (cpuset is not None and cpuset["cpuset"] != b"/"):
            self._remarks["confined"] = None

    def _take_counters(self, text: bytes, number: int) -> bool:
        if _MEM_INFO.match(text) is not None:
            self._section = "mem-info"
            self._at("Mem-Info", number, text)
            return True
        if _SYSRQ_SHOW.match(text) is not None:
            self._remarks["sysrq"] = None
            return True
        if _COUNTERS.match(text) is None:
            return False
        name = ""
        for match in _COUNTER.finditer(text):
            value = self._number(match["value"], text)
            name = match["name"].decode()
            if value is not None and name not in self._counters and self._has_room("counters", self._counters):
                self._counters[name] = value
                self._at(name, number, text)
        if name and len(self._ends) < bounds.EVENT_NAMES:
            self._ends.append((self._length, name))
        return True

    def _take_node(self, text: bytes, number: int) -> bool:
        match = _NODE.match(text)
        if match is None:
            return False
        node = int(match["node"])
        if node not in self._nodes and self._has_room("nodes", self._nodes, bounds.ZONES):
            self._nodes[node] = Node(node, self._fields(text), number)
            self._at(f"Node {int(match['node'])}", number, text)
        return True

    def _take_zone(self, text: bytes, number: int) -> bool:
        match = _ZONE.match(text)
        if match is not None:
            node = None if match["node"] is None else int(match["node"])
            name = match["name"].decode()
            self._zone = (node, name)
            if self._zone not in self._zones and self._has_room("zones", self._zones, bounds.ZONES):
                zone = self._zones[self._zone] = Zone(node, name, self._fields(text), number)
                self._at(zone.title, number, text)
            self._section = "mem-info"
            return True
        match = _RESERVE.match(text)
        if match is not None:
            pages = tuple(self._number(word, text) or 0 for word in match["pages"].split())
            of = None if self._zone is None else self._zones.get(self._zone)
            if self._zone is not None and of is not None and not of.lowmem_reserve_pages:
                self._zones[self._zone] = replace(of, lowmem_reserve_pages=pages)
            return True
        match = _FREE_LISTS.match(text)
        if match is None:
            return False
        node = None if match["node"] is None else int(match["node"])
        name = match["name"].decode()
        blocks = tuple(
            FreeBlocks(
                int(block["count"]),
                int(block["size"].replace(b" ", b"")),
                None if block["types"] is None else block["types"].decode(),
            )
            for block in itertools.islice(_BLOCKS.finditer(text, match.end()), bounds.EVENT_NAMES)
        )
        total = _LISTED.search(text)
        listed = {} if total is None else {"on free lists": int(total["total"])}
        known = self._zones.get((node, name))
        if known is None and self._has_room("zones", self._zones, bounds.ZONES):
            self._zones[node, name] = Zone(node, name, listed, number, blocks=blocks)
        elif known is not None and known.blocks is None:
            self._zones[node, name] = replace(known, blocks=blocks)
        self._at(f"free lists of {name if node is None else f'Node {node} {name}'}", number, text)
        return True

    def _take_totals(self, text: bytes, number: int) -> bool:
        match = _HUGE.match(text)
        if match is not None:
            node = None if match["node"] is None else int(match["node"])
            pool = HugePages(node, int(match["total"]), int(match["free"]), int(match["size"]), number)
            key = (node, pool.size_kib)
            if key not in self._huge and self._has_room("huge page pools", self._huge, bounds.ZONES):
                self._huge[key] = pool
                self._at(f"hugepages of {pool.size_kib}kB", number, text)
            return True
        for name, pattern in _TOTALS if _IN_TOTALS.search(text) is not None else ():
            match = pattern.match(text)
            if match is not None:
                value = self._number(match["value"], text)
                if value is not None and name not in self._totals:
                    self._totals[name] = value
                    self._at(name, number, text)
                return True
        return False

    def _take_slab(self, text: bytes, number: int) -> bool:
        if self._section != "slab" and not text.startswith(b"U"):
            return False
        if _SLAB_TITLE.match(text) is not None:
            self._section = "slab"
            self._at("Unreclaimable slab info", number, text)
            return True
        if self._section != "slab":
            return False
        if _SLAB_HEAD.match(text) is not None:
            return True
        match = _SLAB_ROW.match(text)
        if match is None:
            return False
        used, total = self._number(match["used"], text), self._number(match["total"], text)
        if used is not None and total is not None and self._has_room("slab caches", self._slabs, bounds.EVENT_ROWS):
            self._slabs.append(SlabCache(printable(match["name"]), used, total, number))
        return True

    def _take_site(self, text: bytes, number: int) -> bool:
        title = _SITES_TITLE.match(text)
        if title is not None:
            self._section = "sites"
            if title["state"] == b"off":
                self._remarks["profiling off"] = None
            self._at("Memory allocations", number, text)
            return True
        match = _SITE.match(text) if self._section == "sites" else None
        if match is None:
            return False
        unit = _UNITS.get(match["unit"])
        if unit is None:
            self._distrust(text)
            return True
        size_bytes = round(float(match["size"]) * unit)
        module = None if match["module"] is None else printable(match["module"])
        if not self._has_room("call sites", self._sites, bounds.EVENT_ROWS):
            return True
        self._sites.append(
            CallSite(
                size_bytes, int(match["calls"]), printable(match["place"]), module, printable(match["function"]), number
            )
        )
        return True

    def _take_task(self, text: bytes, number: int) -> bool:
        if _TASKS_TITLE.match(text) is not None:
            return True
        head = _TASKS_HEAD.match(text)
        if head is not None:
            self._columns = head["columns"].decode(errors="replace").split()[:_TASK_COLUMNS_MOST]
            self._section = "tasks"
            self._at("task table", number, text)
            return True
        match = _TASK.match(text) if self._columns else None
        if match is None:
            return False
        words = match["rest"].split(None, len(self._columns) - 1)
        if len(words) == len(self._columns):
            values = {}
            for name, word in zip(self._columns[:-1], words, strict=False):
                value = self._number(word, text) if _TASK_NUMBER.fullmatch(word) is not None else None
                if value is not None:
                    values[name] = value
            comm = words[-1].strip()
            comm = comm if len(comm) <= _COMM_BYTES else comm.split()[0][:_COMM_BYTES]
            if "rss" in values and self._has_room("tasks", self._processes, bounds.TASKS):
                self._processes.append(Process(int(match["pid"]), printable(comm), values, number))
        return True

    def _take_memcg(self, text: bytes, number: int) -> bool:
        if self._section != "memcg stat" and _OF_MEMCG.search(text) is None:
            return False
        match = _MEMCG_TASK.match(text) or _MEMCG_GROUP.match(text)
        if match is not None:
            self._is_memcg(printable(match["path"]), number, text)
            return True
        match = _MEMCG_USAGE.match(text)
        if match is not None:
            usage, limit = self._number(match["usage"], text), self._number(match["limit"], text)
            what = match["what"].decode()
            for name, value in (("usage", usage), ("limit", limit), ("failcnt", self._number(match["failcnt"], text))):
                self._memcg.setdefault(f"{what} {name}", value)
            if what == "memory":
                self._is_memcg(None, number, text)
            return True
        match = _MEMCG_STATS.match(text)
        if match is not None:
            self._section = "memcg stat"
            self._is_memcg(None if match["path"] is None else printable(match["path"]), number, text)
            for stat in _MEMCG_STAT_KB.finditer(match["rest"]):
                value = self._number(stat["value"], text)
                is_kept = stat["name"].decode() in self._memcg_stat or self._has_room("counters", self._memcg_stat)
                if value is not None and is_kept:  # one line per group of the hierarchy, each with what is its own
                    name = stat["name"].decode()
                    self._memcg_stat[name] = self._memcg_stat.get(name, 0) + value * 1024
            for stat in _MEMCG_STAT_INLINE.finditer(match["rest"]):
                self._keep_stat(stat, text)
            return True
        if self._section != "memcg stat" or _MEMCG_PAIRS.match(text) is None:
            return False
        for pair in _MEMCG_PAIR.finditer(text):
            self._keep_stat(pair, text)
        return True

    def _keep_stat(self, pair: re.Match[bytes], text: bytes) -> None:
        value, name = self._number(pair["value"], text), pair["name"].decode()
        kept = self._memcg_counts if _MEMCG_EVENTS.match(name) is not None else self._memcg_stat
        if value is not None and self._has_room("counters", kept):
            kept.setdefault(name, value)

    def _take_end(self, text: bytes, number: int) -> bool:
        if _AT_END.search(text) is None:
            return False
        match = _SUMMARY.match(text)
        if match is not None:
            self._constraint = match["constraint"].decode()
            self._section = ""
            self._take_nodes(text)
            if self._kind == SHOWN:
                self._kind = KILL
            self._at("oom-kill", number, text)
            if self._constraint == "CONSTRAINT_MEMCG":
                path = _OOM_MEMCG.search(match["rest"])
                self._is_memcg(None if path is None else printable(path["path"]), number, text)
            return True
        match = _KILL_LINE.match(text)
        if match is not None and match["memcg"] != b"O":
            self._is_memcg(None, number, text)
        match = match or _KILLED.match(text)
        if match is not None:
            self._take_victim(match, text, number)
            return True
        if _NO_VICTIM.match(text) is not None:
            self._at("no killable processes", number, text)
            self._section = ""
            return True
        match = _panic(text)
        if match is not None:
            self._panic = self._panic or printable(match["message"].strip())
            self._at("panic", number, text)
            return True
        match = _ANDROID.search(text) if b"lowmemorykiller" in text else None
        if match is not None:
            pid = int(match["pid"])
            if self._has_room("victims", self._victims, bounds.VICTIMS):
                self._victims.setdefault(pid, Victim(pid, printable(match["comm"]), {}, None, number))
            self._at("lowmemorykiller", number, text)
            return True
        return False

    def _take_victim(self, match: re.Match[bytes], text: bytes, number: int) -> None:
        self._section = ""
        if self._kind == SHOWN:
            self._kind = KILL  # its header is lost
        pid, comm = int(match["pid"]), printable(match["comm"])
        rest = match["rest"] or b""
        kib = {}
        for rss in _RSS.finditer(rest):
            value = self._number(rss["value"], text)
            if value is not None:
                kib[rss["name"].decode()] = value
        score = _SCORE.search(rest)
        # "Kill process N or sacrifice child" announces, "Killed process M" tells who it was and what it held.
        last = next(reversed(self._victims.values()), None)
        if (victim := self._victims.get(pid)) is not None:
            self._victims[pid] = replace(victim, kib={**victim.kib, **kib})
        elif last is not None and kib and not last.kib:
            del self._victims[last.pid]
            self._victims[pid] = Victim(pid, comm, kib, last.score, number)
        elif self._has_room("victims", self._victims, bounds.VICTIMS):
            self._victims[pid] = Victim(pid, comm, kib, None if score is None else int(score["score"]), number)
        self._at(f"victim {pid}", number, text)

    def _take_stack(self, text: bytes, number: int) -> bool:  # noqa: ARG002 - one signature for all
        self._remember(text)
        if self._arch is None and (registers := _REGISTERS.match(text)) is not None:
            self._arch = registers.lastgroup
        if _KNOWN_AND_PASSED.match(text) is not None:
            return True
        if b"+0x" not in text and b" from " not in text:
            return False
        match = _FRAME.match(text)
        if match is None:
            return False
        frame = match["frame"]
        if (
            match["guess"] is None
            and not self._counters
            and len(self._stack) < bounds.LOG_STACK_FRAMES
            and b"+0x" in frame
        ):
            self._stack.append(printable(frame))
        return True

    def _is_memcg(self, path: str | None, number: int, text: bytes) -> None:
        if self._kind in (KILL, SHOWN):
            self._kind = MEMCG_KILL
        if path is not None:
            self._memcg.setdefault("path", path)
        self._memcg.setdefault("line", number)
        self._at("memory cgroup", number, text)

    def _remember(self, text: bytes) -> None:
        for name, remark in _REMARKS if _REMARKED.search(text) is not None else ():
            if remark.search(text) is not None:
                self._remarks[name] = None

    def _at(self, name: str, number: int, text: bytes) -> None:
        if name not in self._lines and len(self._lines) < bounds.QUOTED_LINES:
            self._lines[name] = number
            if number not in self._texts:
                self._texts[number] = printable(text[:1000].strip())

    def _number(self, digits: bytes, text: bytes) -> int | None:
        digits = digits.replace(b" ", b"")
        value = int(digits) if len(digits) <= 2 * bounds.DIGITS else bounds.AMOUNT
        if -bounds.AMOUNT < value < bounds.AMOUNT:
            return value
        self._distrust(text)
        return None

    def _distrust(self, text: bytes) -> None:
        if self._has_room("numbers that cannot be", self._distrusted, bounds.UNKNOWN_LINES_KEPT):
            self._distrusted.append(printable(text[:200].strip()))

    def _has_room(self, what: str, kept: Sized, most: int = bounds.EVENT_NAMES) -> bool:
        """Whether one more of them is kept; what is not is counted."""
        if len(kept) < most:
            return True
        self._left_out[what] = self._left_out.get(what, 0) + 1
        return False

    def _fields(self, text: bytes) -> dict[str, int]:
        fields: dict[str, int] = {}
        for match in itertools.islice(_FIELD.finditer(text), bounds.EVENT_NAMES):
            value = self._number(match["value"], text)
            if value is not None:
                fields.setdefault(match["name"].decode(), value)
        return fields

    def _clipped_at(self) -> int | None:
        """The width at which a terminal has cut the lines: several of just that length, and none that is longer."""
        longest = max(self._lengths, default=0)
        return longest if longest >= 40 and self._lengths[longest] >= _CLIPPED_LINES else None

    def event(self) -> OomEvent:
        """All that was taken."""
        clipped_at = self._clipped_at()
        for length, name in self._ends:
            if length == clipped_at:
                self._counters.pop(name, None)  # the cut may stand in the number
        kind = PANIC if self._panic is not None and self._is_panic_of_oom() else self._kind
        memcg = None
        if self._kind == MEMCG_KILL:
            number = {name: value for name, value in self._memcg.items() if isinstance(value, int)}
            path = self._memcg.get("path")
            reached = next((what for what in ("memory", "memory+swap", "kmem") if _is_reached(number, what)), "memory")
            memcg = Memcg(
                path=path if isinstance(path, str) else None,
                reached=reached,
                usage_kib=number.get(f"{reached} usage"),
                limit_kib=number.get(f"{reached} limit"),
                failcnt=number.get(f"{reached} failcnt"),
                stat=self._memcg_stat,
                counts=self._memcg_counts,
                line=number.get("line"),
            )
        return OomEvent(
            kind=kind,
            asked=Asked(stack=tuple(self._stack), **self._asked),  # type: ignore[arg-type]
            at_ns=self.at_ns,
            stamp=self._first.stamp,
            release=self._release,
            arch=self._arch,
            constraint=self._constraint,
            mems_allowed=self._allowed,
            panic_message=self._panic,
            counters=self._counters,
            nodes=tuple(self._nodes.values()),
            zones=tuple(self._zones.values()),
            huge_pages=tuple(self._huge.values()),
            totals=self._totals,
            page_kib=self._page_kib(),
            slab_caches=tuple(self._slabs),
            call_sites=tuple(self._sites),
            processes=tuple(self._processes),
            victims=tuple(self._victims.values()),
            memcg=memcg,
            remarks=tuple(self._remarks),
            lines=self._lines,
            texts=self._texts,
            first_line=self._first.number,
            last_line=self._last_line,
            unknown=tuple(self._unknown),
            unknown_count=len(self._unknown),
            distrusted=tuple(self._distrusted),
            left_out=self._left_out,
            cut=self._cut(),
        )

    def _is_panic_of_oom(self) -> bool:
        return _PANIC_OF_OOM.search((self._panic or "").encode()) is not None

    def _page_kib(self) -> int | None:
        """The page size by the report's own numbers: the smallest block of the free lists, else kB against pages."""
        zones, nodes = self._zones.values(), self._nodes.values()
        smallest = {min(b.size_kib for b in zone.blocks) for zone in zones if zone.blocks}
        if len(smallest) == 1 and (size := smallest.pop()) in _PAGE_KIB:
            return size
        sizes: list[int] = []
        for name in ("active_anon", "inactive_anon", "active_file", "inactive_file", "unevictable"):
            pages = self._counters.get(name, 0)
            of_nodes = sum(node.kib.get(name, 0) for node in nodes)
            of_zones = sum(zone.kib.get(name, 0) for zone in zones)
            sizes += [kib // pages for kib in (of_nodes, of_zones) if pages and kib and kib % pages == 0]
        for process in self._processes if self._victims else ():
            victim, pages = self._victims.get(process.pid), process.values.get("rss_anon", 0)
            if victim is not None and pages:
                sizes.append(victim.kib.get("anon-rss", 0) // pages)
        sizes = [size for size in sizes if size in _PAGE_KIB]
        best = max(set(sizes), key=sizes.count, default=None)
        return best if best is not None and sizes.count(best) * 2 > len(sizes) else None

    def _cut(self) -> tuple[str, ...]:
        """Parts that begin and do not end."""
        missing = []
        if (clipped_at := self._clipped_at()) is not None:
            missing.append(f"the ends of its lines, cut at {clipped_at} columns")
        if "Mem-Info" in self._lines or self._counters:
            if "free" not in self._counters:
                missing.append("the counters of Mem-Info")
            if "pages RAM" not in self._totals:
                missing.append("the lines from `pages RAM` on")
            if not any(zone.kib for zone in self._zones.values()):
                missing.append("the zones")
            elif not any(zone.blocks for zone in self._zones.values()):
                missing.append("the free lists per order")
        elif self._kind in (KILL, FAILURE, VMALLOC_FAILURE) and self._header_given:
            missing.append("Mem-Info")
        if self._kind in (KILL, MEMCG_KILL) and self._header_given and not self._victims and self._panic is None:
            missing.append("who was killed")
        return tuple(missing)


# Each form with the bytes that its lines can begin with, in the order in which they are asked.
_LOWER, _UPPER, _DIGITS = bytes(range(97, 123)), bytes(range(65, 91)), b"0123456789"
_ANY = bytes(range(256))
_FORMS: tuple[tuple[Callable[[EventReader, bytes, int], bool], bytes], ...] = (
    (EventReader._take_counters, _LOWER + b"MS"),
    (EventReader._take_zone, _UPPER + b"l"),
    (EventReader._take_node, b"N"),
    (EventReader._take_totals, _DIGITS + b"NhFT"),
    (EventReader._take_task, b"T["),
    (EventReader._take_slab, _ANY),
    (EventReader._take_site, _DIGITS + b"M"),
    (EventReader._take_memcg, _LOWER + b"TM"),
    (EventReader._take_end, _ANY),
    (EventReader._take_header, _ANY),
    (EventReader._take_context, _ANY),
    (EventReader._take_stack, _ANY),
)
_TAKERS = tuple(tuple(take for take, first in _FORMS if byte in first) for byte in range(256))


def _is_reached(numbers: Mapping[str, int], what: str) -> bool:
    """Whether one of a group's limits is what it ran into."""
    usage, limit = numbers.get(f"{what} usage"), numbers.get(f"{what} limit")
    return usage is not None and limit is not None and usage >= 0.98 * limit
