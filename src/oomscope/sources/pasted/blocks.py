"""Accounts within a text: where one begins, which lines are its own, how many of them prose cannot make."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from oomscope.sources.base import Source
from oomscope.sources.cgroupfs import memory
from oomscope.sources.debugfs import drm, ion
from oomscope.sources.debugfs.alloc_traces import ALLOC_TRACES
from oomscope.sources.debugfs.dma_buf import DMA_BUF
from oomscope.sources.debugfs.kmemleak import KMEMLEAK
from oomscope.sources.page_owner.dump import PageOwnerText
from oomscope.sources.page_owner.sort_tool import PageOwnerSortText
from oomscope.sources.pasted.cleaning import forms, unwrapped
from oomscope.sources.procfs.allocinfo import ALLOCINFO
from oomscope.sources.procfs.buddyinfo import BUDDYINFO
from oomscope.sources.procfs.meminfo import MEMINFO
from oomscope.sources.procfs.pagetypeinfo import PAGETYPEINFO
from oomscope.sources.procfs.slabinfo import SLABINFO
from oomscope.sources.procfs.vmallocinfo import VMALLOCINFO
from oomscope.sources.procfs.vmstat import VMSTAT
from oomscope.sources.procfs.zoneinfo import ZONEINFO
from oomscope.sources.tools import crash_kmem, free, processes, slabtop

_FRAME = (
    rb"\s*(?:\[<[0-9a-fx]{8,18}>\] )?(?:0x[0-9a-f]{8,16}|[\w.$]{1,120}\+0x[0-9a-f]{1,16}/0x[0-9a-f]{1,16})"
    rb"(?: \[[\w-]{1,60}\])?\s*$"
)
_NAMED_IN_PROMPT = re.compile(rb"(?<![\w:,+-])(?P<cache>[\w:,+-]{2,60}+)/(?P<file>alloc_traces|free_traces)\b")


@dataclass(frozen=True, slots=True)
class Kind:
    """How the lines of one format look. `row` is what counts; a block begins with `begins`, else with a row.

    `inner` are other lines of it. `least` rows are as many as prose cannot make; `patience` is how many lines in a row
    may be of something else. `indented` gives a line the indentation that the format's own parser expects.
    """

    source: Source
    row: re.Pattern[bytes]
    least: int
    begins: re.Pattern[bytes] | None = None
    inner: re.Pattern[bytes] | None = None
    patience: int = 1
    indented: Callable[[bytes], bytes] | None = None


@dataclass(slots=True)
class Block:
    """Lines of one kind, and the number in the text of the first."""

    kind: Kind
    line: int
    name: str = ""
    rows: int = 0
    lines: list[bytes] = field(default_factory=list)
    passed: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether it has enough rows to be believed."""
        return self.rows >= self.kind.least

    @property
    def text(self) -> bytes:
        """What the kind's own source reads."""
        return b"\n".join(self.lines) + b"\n"


def _indented_as_kmemleak(line: bytes) -> bytes:
    text = line.strip()
    if text.startswith(b"unreferenced object"):
        return text
    return b"  " + text if re.match(rb"comm |hex dump|backtrace", text) else b"    " + text


def _indented_frames(line: bytes) -> bytes:
    text = line.strip()
    return b" " + text if re.match(_FRAME, text) else text


def _indented_traces(line: bytes) -> bytes:
    text = line.strip()
    return b"    " + text if re.match(_FRAME, text) else b"  " + text


_MEMINFO_NAMES = (
    rb"(?:Mem(?:Total|Free|Available)|Buffers|Cached|Swap(?:Cached|Total|Free)|(?:Ina|A)ctive(?:\((?:anon|file)\))?|Unevictable"
    rb"|Mlocked|(?:High|Low)(?:Total|Free)|Zswap(?:ped)?|Dirty|Writeback(?:Tmp)?|AnonPages|Mapped|Shmem(?:HugePages|PmdMapped)?"
    rb"|KReclaimable|Slab|S(?:Reclaimable|Unreclaim)|KernelStack|ShadowCallStack|(?:Sec)?PageTables|NFS_Unstable|Bounce"
    rb"|CommitLimit|Committed_AS|Vmalloc(?:Total|Used|Chunk)|Percpu|HardwareCorrupted|(?:Anon|File)Huge(?:Pages)?|FilePmdMapped"
    rb"|Cma(?:Total|Free)|Unaccepted|Balloon|GPU(?:Active|Reclaim)|Hugepagesize|Hugetlb|DirectMap\w{2,3})"
)
KINDS: tuple[Kind, ...] = (
    Kind(
        PageOwnerSortText(),
        re.compile(rb"\d{1,12} times(?:, \d{1,15} pages[^\n]{0,200})?: *$"),
        1,
        inner=re.compile(rb" ?(?:Page allocated via order|PFN \d|Charged |Page has been)|" + _FRAME),
        patience=2,
        indented=_indented_frames,
    ),
    Kind(
        PageOwnerText(),
        re.compile(rb" *Page allocated via order \d{1,2}, mask 0x"),
        1,
        inner=re.compile(rb" *(?:PFN \d|PFN 0x|Charged |Page has been|Block \d)|" + _FRAME),
        patience=2,
        indented=_indented_frames,
    ),
    Kind(
        KMEMLEAK,
        re.compile(rb"\s*unreferenced object(?: \([^)]{1,40}\))? 0x[0-9a-f]{1,16} \(size \d{1,18}\):"),
        1,
        inner=re.compile(rb'\s*(?:comm "|hex dump \(|backtrace|(?:[0-9a-f]{2} ){4}|\[<)|' + _FRAME),
        patience=1,
        indented=_indented_as_kmemleak,
    ),
    Kind(
        ALLOC_TRACES,
        re.compile(rb" *\d{1,15} \S.{0,200}? age=\d\S* pid="),
        1,
        inner=re.compile(_FRAME),
        patience=1,
        indented=_indented_traces,
    ),
    Kind(
        ALLOCINFO,
        re.compile(
            rb" *(?:\d{1,18}|\d{1,4}(?:\.\d{1,2})?[KMGT]) +\d{1,19} \S{1,300}:\d{1,7} (?:\[[\w-]{1,64}\] )?"
            rb"func:\S{1,300}"
        ),
        2,
        inner=re.compile(rb"allocinfo - version|# +<size>"),
    ),
    Kind(
        SLABINFO,
        re.compile(rb"\S.{0,80}? +\d{1,15} +\d{1,15} +\d{1,12} +\d{1,9} +\d{1,6} +: tunables "),
        2,
        inner=re.compile(rb"slabinfo - version|# ?name "),
    ),
    Kind(slabtop.SLABTOP, slabtop.ROW, 2, begins=slabtop.HEADER),
    Kind(VMALLOCINFO, re.compile(rb" *0x[0-9a-f()_ptrval]{8,20}-0x[0-9a-f()_ptrval]{8,20} +\d{1,18} "), 2),
    Kind(
        PAGETYPEINFO,
        re.compile(rb"Node +\d{1,5}, zone +\S{1,20}, type +\S"),
        3,
        inner=re.compile(rb"Page block order|Pages per block|Free pages count|Number of blocks|Node \d"),
    ),
    Kind(BUDDYINFO, re.compile(rb" *Node \d{1,5}, zone +\S{1,20} +(?:\d{1,12} +){5}"), 1),
    Kind(
        ZONEINFO,
        re.compile(rb" +(?:pages free|min|low|high|spanned|present|managed|nr_\w{2,40}) +\d{1,18}(?:\s|$)"),
        4,
        begins=re.compile(rb" *Node \d{1,5}, zone +\S{1,20}\s*$"),
        inner=re.compile(rb" +\S"),
        patience=2,
    ),
    Kind(crash_kmem.CRASH_KMEM, crash_kmem.ROW, 3, begins=crash_kmem.HEADER, patience=2),
    Kind(free.FREE, free.ROW, 1, begins=free.HEADER),
    Kind(
        ion.ION,
        ion.CLIENT,
        1,
        begins=ion.HEADER,
        inner=ion.ABOUT,
        patience=1,
    ),
    Kind(
        DMA_BUF,
        re.compile(rb"\d{8,18}\s++[0-9a-f]{8}\s++[0-9a-f]{8}\s"),
        1,
        begins=re.compile(rb"Dma-buf Objects:|\d{8,18}\s++[0-9a-f]{8}\s++[0-9a-f]{8}\s"),
        inner=re.compile(rb"\s|size|Total \d"),
        patience=2,
    ),
    Kind(
        memory.MEMORY_STAT,
        re.compile(rb"(?:memory\.\w|(?:total_)?[a-z])[\w.]{1,40}:? ?(?:\d{1,20}|max)\s*$"),
        4,
        begins=memory.ROW,
    ),
    Kind(VMSTAT, re.compile(rb"(?:nr_|pg|workingset_|thp_|compact_|numa_)[a-z0-9_]{2,60} \d{1,20}\s*$"), 6, patience=2),
    Kind(
        drm.DRM,
        re.compile(
            rb" *+(?:(?:\S.{0,60}?: )?\d{1,9} (?:shrinkable (?:\[\d{1,9} free\] )?)?objects, \d{1,18} bytes"
            rb"|allocated bo)"
        ),
        2,
    ),
    Kind(processes.PROCESSES, processes.ROW, 2, begins=processes.HEADER, patience=1),
    Kind(
        MEMINFO,
        re.compile(rb"\s*" + _MEMINFO_NAMES + rb": +\d{1,15} kB"),
        3,
        inner=re.compile(rb"\s*HugePages_\w+: +\d"),
        patience=12,
    ),
)
_WRAPPED_CALL_SITE = re.compile(rb"\s*(?:\d{1,18}|\d{1,4}(?:\.\d{1,2})?[KMGT]) +\d{1,19} \S{1,300}:\d{1,7}\s*$")
_REST_OF_CALL_SITE = re.compile(rb"\s*(?:\[[\w-]{1,64}\] )?func:\S")
_WRAPPED_ORDERS = re.compile(rb" *+Node \d{1,5}, zone ++\S{1,20} ++(?:\d{1,12} *+){1,11}+$")
_REST_OF_ORDERS = re.compile(rb" *+(?:\d{1,12} *+){1,10}+$")
_FIGURE_ASKED = re.compile(
    rb"(?:cat|head|more|less) \S{0,200}?(?P<name>memory\.(?:current|max|limit_in_bytes|usage_in_bytes))\b"
)
_BARE = re.compile(rb"\s*(?:\d{1,20}|max)\s*$")
_CGROUP = next(kind for kind in KINDS if kind.source is memory.MEMORY_STAT)


def blocks(lines: Iterable[bytes]) -> tuple[list[Block], list[Block]]:
    """The blocks of a text in their order, and what looked like one and is too short to be believed."""
    finder = _Finder()
    for number, line in enumerate(lines, 1):
        finder.take(unwrapped(line), number)
    finder.close()
    return [each for each in finder.found if each.is_whole], [each for each in finder.found if not each.is_whole]


class _Finder:
    """One pass over the lines; at most one block is open."""

    def __init__(self) -> None:
        self.found: list[Block] = []
        self._open: Block | None = None
        self._held: tuple[bytes, int] | None = None  # a row that a mailer has wrapped
        self._name = ""
        self._figure = b""  # a file of one number that was asked for: the next line is it

    def take(self, line: bytes, number: int) -> None:
        """The next line."""
        if self._held is not None:
            held, held_number = self._held
            self._held = None
            rest = _REST_OF_CALL_SITE if _WRAPPED_CALL_SITE.match(held) else _REST_OF_ORDERS
            if rest.match(line) is not None:
                self._take(held.rstrip() + b" " + line.strip(), held_number)
                return
            self._take(held, held_number)
        if _WRAPPED_CALL_SITE.match(line) is not None or _WRAPPED_ORDERS.match(line) is not None:
            self._held = (line, number)
            return
        self._take(line, number)

    def close(self) -> None:
        """No more lines."""
        if self._held is not None:
            self._take(*self._held)
            self._held = None
        self._close()

    def _close(self) -> None:
        if self._open is not None:
            self.found.append(self._open)
        self._open = None

    def _take(self, line: bytes, number: int) -> None:
        if (asked := _FIGURE_ASKED.search(line)) is not None:
            self._figure = asked["name"]
        elif self._figure and _BARE.match(line) is not None:
            line, self._figure = self._figure + b" " + line.strip(), b""
            if self._open is None or self._open.kind.source is not memory.MEMORY_STAT:
                self._close()
                self._open = Block(_CGROUP, number)
        if (named := _NAMED_IN_PROMPT.search(line)) is not None:
            self._name = f"slab/{named['cache'].decode(errors='replace')}/{named['file'].decode()}"
        block = self._open
        if block is not None and self._belongs(block, line):
            return
        for kind in KINDS:
            for form in forms(line):
                if (kind.begins or kind.row).match(form) is not None:
                    self._close()
                    self._open = Block(kind, number, self._name if kind.source is ALLOC_TRACES else "")
                    self._add(self._open, form)
                    return

    def _belongs(self, block: Block, line: bytes) -> bool:
        kind = block.kind
        if not line.strip():
            block.passed += 1
            if block.passed <= kind.patience:
                block.lines.append(b"")
                return True
            self._close()
            return False
        for form in forms(line):
            is_row = kind.row.match(form) is not None
            if kind.begins is not None and not is_row and kind.begins.match(form) is not None and block.rows:
                return kind.source in (ZONEINFO, DMA_BUF) and self._add(block, form)
            if is_row or (kind.inner is not None and kind.inner.match(form) is not None):
                return self._add(block, form)
        block.passed += 1
        if block.passed > kind.patience:
            self._close()
        return False

    def _add(self, block: Block, line: bytes) -> bool:
        block.passed = 0
        block.rows += block.kind.row.match(line) is not None
        block.lines.append(line if block.kind.indented is None else block.kind.indented(line))
        return True
