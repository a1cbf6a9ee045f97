"""How the lines of each account look that a text may hold, and how many of them prose cannot make."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from oomscope.sources.base import Source
from oomscope.sources.cgroupfs import memory
from oomscope.sources.debugfs import cma, drm, ion, slub_trace
from oomscope.sources.debugfs.alloc_traces import ALLOC_TRACES
from oomscope.sources.debugfs.dma_buf import DMA_BUF
from oomscope.sources.debugfs.kmemleak import KMEMLEAK
from oomscope.sources.page_owner.dump import PageOwnerText
from oomscope.sources.page_owner.sort_tool import PageOwnerSortText
from oomscope.sources.procfs import process_status
from oomscope.sources.procfs.allocinfo import ALLOCINFO
from oomscope.sources.procfs.buddyinfo import BUDDYINFO
from oomscope.sources.procfs.meminfo import MEMINFO
from oomscope.sources.procfs.pagetypeinfo import PAGETYPEINFO
from oomscope.sources.procfs.slabinfo import SLABINFO
from oomscope.sources.procfs.vmallocinfo import VMALLOCINFO
from oomscope.sources.procfs.vmstat import VMSTAT
from oomscope.sources.procfs.zoneinfo import ZONEINFO
from oomscope.sources.sysfs import node_meminfo
from oomscope.sources.sysfs.zram import ZRAM
from oomscope.sources.tools import (
    containers,
    crash_kmem,
    crash_slab,
    dumpsys,
    free,
    memleak,
    numastat,
    oomctl,
    processes,
    ps_mem,
    sar,
    slabtop,
    smem,
    top,
    vmstat,
    zfs,
    zramctl,
)

_FRAME = (
    rb"\s*(?:\[<[0-9a-fx]{8,18}>\] )?(?:0x[0-9a-f]{8,16}|[\w.$]{1,120}\+0x[0-9a-f]{1,16}/0x[0-9a-f]{1,16})"
    rb"(?: \[[\w-]{1,60}\])?(?: (?:\.\./)*[\w./-]{1,200}\.[chS]:\d{1,7}(?: \[inline\])?)?\s*$"
)
# What is inlined has no offset; the last line of a cut text ends within one.
_INLINED = (
    rb"\s*\[<[0-9a-f]{4,16}>\] (?:[\w.$]{1,200} (?:\.\./)*[\w./-]{1,200}\.[chS]:\d{1,7} \[inline\]"
    rb"|[\w.$]{1,200}\+0?x?[0-9a-f/x]{0,18})\s*$"
)


@dataclass(frozen=True, slots=True)
class Kind:
    """How the lines of one format look. A text that has none of `words` has none of it.

    `row` is what counts; a block begins with `begins`, else with a row.

    `inner` are other lines of it. `least` rows are as many as prose cannot make; `patience` is how many lines in a row
    may be of something else. A line of `again` begins the same account anew: it is another moment; so does a row that
    has the name of the block's first one, where `named` finds it. `is_generic` tells
    that its rows may be of other kinds, `is_a_part` that each block is of something else. `indented` gives a line the
    indentation that the format's own parser expects.
    """

    source: Source
    words: tuple[bytes, ...]
    row: re.Pattern[bytes]
    least: int
    begins: re.Pattern[bytes] | None = None
    inner: re.Pattern[bytes] | None = None
    patience: int = 1
    again: re.Pattern[bytes] | None = None
    named: re.Pattern[bytes] | None = None
    is_generic: bool = False
    is_a_part: bool = False
    indented: Callable[[bytes], bytes] | None = None


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


def _any(*forms: re.Pattern[bytes]) -> re.Pattern[bytes]:
    """One form of several; what their parts are called is of no use here."""
    return re.compile(b"|".join(re.sub(rb"\?P<\w+>", b"?:", form.pattern) for form in forms))


KINDS: tuple[Kind, ...] = (
    Kind(
        PageOwnerSortText(),
        (b" times,", b" times:"),
        re.compile(rb"\d{1,12} times(?:, \d{1,15} pages[^\n]{0,200})?: *$"),
        1,
        inner=re.compile(rb" ?(?:Page allocated via order|PFN \d|Charged |Page has been)|" + _FRAME),
        patience=2,
        indented=_indented_frames,
    ),
    Kind(
        PageOwnerText(),
        (b"Page allocated via",),
        re.compile(rb" *Page allocated via order \d{1,2}, mask 0x"),
        1,
        inner=re.compile(rb" *(?:PFN \d|PFN 0x|Charged |Page has been|Block \d)|" + _FRAME),
        patience=2,
        indented=_indented_frames,
    ),
    Kind(
        KMEMLEAK,
        (b"unreferenced object",),
        re.compile(rb"\s*unreferenced object(?: \([^)]{1,40}\))? 0x[0-9a-f]{1,16} \(size \d{1,18}\):"),
        1,
        inner=re.compile(rb'\s*(?:comm "|hex dump \(|backtrace|(?:[0-9a-f]{2} ){4}|\[<)|' + _FRAME + rb"|" + _INLINED),
        patience=1,
        is_a_part=True,
        indented=_indented_as_kmemleak,
    ),
    Kind(
        ALLOC_TRACES,
        (b"age=",),
        re.compile(rb" *\d{1,15} \S.{0,200}? age=\d\S* pid="),
        1,
        inner=re.compile(_FRAME),
        patience=1,
        indented=_indented_traces,
    ),
    Kind(
        ALLOCINFO,
        (b"func:",),
        re.compile(
            rb" *(?:\d{1,18}|\d{1,4}(?:\.\d{1,2})?(?: ?[KMGT]i?B?| B)) +\d{1,19} \S{1,300}:\d{1,7} "
            rb"(?:\[[\w-]{1,64}\] )?func:\S{1,300}"
        ),
        2,
        inner=re.compile(rb"allocinfo - version|# +<size>"),
    ),
    Kind(
        SLABINFO,
        (b": tunables",),
        re.compile(rb"\S.{0,80}? +\d{1,15} +\d{1,15} +\d{1,12} +\d{1,9} +\d{1,6} +: tunables "),
        1,
        inner=re.compile(rb"slabinfo - version|# ?name "),
        named=re.compile(rb"(?P<name>\S(?:\S| (?=\S)){0,80}?) +\d"),
    ),
    Kind(
        slabtop.SLABTOP,
        (b"OBJ SIZE", b"Active / Total"),
        slabtop.ROW,
        1,
        begins=_any(slabtop.HEADER, re.compile(rb" *Active / Total (?:Objects|Size) \(% used\)")),
        inner=re.compile(rb" *(?:Active / Total|Minimum / Average|\s*OBJS)"),
    ),
    Kind(
        VMALLOCINFO,
        (b" pages=", b" ioremap", b" vmap", b" vmalloc"),
        re.compile(rb" *0x[0-9a-f()_ptrval]{8,20}-0x[0-9a-f()_ptrval]{8,20} +\d{1,18} "),
        2,
    ),
    Kind(
        PAGETYPEINFO,
        (b", zone ", b", zone\t"),
        re.compile(rb"Node +\d{1,5}, zone +\S{1,20}, type +\S"),
        3,
        inner=re.compile(rb"Page block order|Pages per block|Free pages count|Number of blocks|Node \d"),
    ),
    Kind(BUDDYINFO, (b", zone ",), re.compile(rb" *Node \d{1,5}, zone +\S{1,20} +(?:\d{1,12} +){5}"), 1),
    Kind(
        ZONEINFO,
        (b", zone ",),
        re.compile(rb" +(?:pages free|min|low|high|spanned|present|managed|nr_\w{2,40}) +\d{1,18}(?:\s|$)"),
        4,
        begins=re.compile(rb" *Node \d{1,5}, zone +\S{1,20}\s*$"),
        inner=re.compile(rb" +\S"),
        patience=2,
    ),
    Kind(crash_kmem.CRASH_KMEM, (b"PERCENTAGE",), crash_kmem.ROW, 3, begins=crash_kmem.HEADER, patience=2),
    Kind(
        free.FREE,
        (b"buff/cache", b"buffers/cache", b"buffers ", b"Mem:"),
        free.ROW,
        1,
        begins=_any(free.HEADER, free.BARE, free.ASKED),
        inner=free.HEADER,
    ),
    Kind(zfs.ZFS_KSTAT, (b" 4  ", b"- cache -"), _any(zfs.ARCSTAT, zfs.SLAB), 2, inner=zfs.ABOUT),
    Kind(zfs.ZFS_KSTAT, (b"SPL slab", b"ARC size", b"Current Size"), zfs.SUMMARY, 1, inner=zfs.ABOUT),
    Kind(oomctl.OOMCTL, (b"Current Memory",), oomctl.ROW, 2, inner=oomctl.ABOUT, patience=2),
    Kind(
        slub_trace.SLUB_TRACE,
        (b"TRACE ",),
        slub_trace.ROW,
        1,
        inner=_any(slub_trace.FRAME, slub_trace.ABOUT),
        patience=3,
    ),
    Kind(
        ion.ION,
        (b"client  ",),
        ion.CLIENT,
        1,
        begins=ion.HEADER,
        inner=ion.ABOUT,
        patience=1,
    ),
    Kind(
        DMA_BUF,
        (b"Dma-buf", b"\t0000", b" 00000002 "),
        re.compile(rb"\d{8,18}\s++[0-9a-f]{8}\s++[0-9a-f]{8}\s"),
        1,
        begins=re.compile(rb"Dma-buf Objects:|\d{8,18}\s++[0-9a-f]{8}\s++[0-9a-f]{8}\s"),
        inner=re.compile(rb"\s|size|Total \d"),
        patience=2,
    ),
    Kind(
        memory.MEMORY_STAT,
        (
            b"mapped_file",
            b"file_mapped",
            b"inactive_anon ",
            b"_memory_limit",
            b"memory.",
            b"anon: ",
            b"reclaimable: ",
            b"kernel_stack ",
            b"slab_unreclaimable ",
            b"\nanon ",
        ),
        _any(re.compile(rb"(?:memory\.\w|(?:total_)?[a-z])[\w.]{1,40}:? ?(?:\d{1,20}|max)\s*$"), memory.EDITED),
        4,
        begins=_any(memory.ROW, memory.EDITED, memory.NAMED),
        again=re.compile(rb"(?:anon|cache) \d"),
        patience=8,
    ),
    Kind(
        VMSTAT,
        (b"pgfault", b"pgpgin", b"workingset", b"free_pages", b"free\\_pages"),
        re.compile(rb"(?:nr_|pg|workingset_|thp_|compact_|numa_)[a-z0-9_]{2,60} \d{1,20}\s*$"),
        6,
        patience=2,
        again=re.compile(rb"nr_free_pages "),
    ),
    Kind(
        drm.DRM,
        (b"objects, ", b"allocated bo"),
        re.compile(
            rb" *+(?:(?:\S.{0,60}?: )?\d{1,9} (?:shrinkable (?:\[\d{1,9} free\] )?)?objects, \d{1,18} bytes"
            rb"|allocated bo)"
        ),
        2,
        begins=_any(drm.TOTAL, drm.BO_STATS),
        patience=4,
    ),
    Kind(
        crash_slab.CRASH_SLAB,
        (b"OBJSIZE",),
        crash_slab.ROW,
        2,
        begins=crash_slab.HEADER,
        inner=crash_slab.ABOUT,
    ),
    Kind(
        containers.CONTAINERS,
        (b"MEM USAGE", b"CPU(cores)"),
        _any(containers.OF_DOCKER, containers.OF_KUBECTL),
        1,
        begins=_any(containers.HEADER_OF_DOCKER, containers.HEADER_OF_KUBECTL),
        patience=2,
    ),
    Kind(
        ZRAM,
        (b"mm_stat",),
        re.compile(rb" *+\d{1,18}(?: +\d{1,18}){6,8}\s*$"),
        1,
    ),
    Kind(
        numastat.NUMASTAT,
        (b"MemTotal ", b"MemFree ", b"MemUsed ", b"FilePages "),
        numastat.ROW,
        3,
        begins=numastat.HEADER,
        inner=numastat.RULE,
        patience=2,
    ),
    Kind(node_meminfo.NODE_MEMINFO, (b"MemTotal", b"FilePages"), node_meminfo.ROW, 3, patience=3),
    Kind(top.TOP, (b"Mem:", b"Mem :"), top.ROW, 1, again=re.compile(rb" *+(?:[KMG]i?B )?Mem *:")),
    Kind(smem.SMEM, (b"Noncache",), smem.ROW, 3, begins=smem.HEADER),
    Kind(
        vmstat.VMSTAT_TOOL,
        (b" swpd ", b"K total memory"),
        _any(vmstat.ROW, vmstat.SUMMARY),
        1,
        begins=_any(vmstat.ASKED, vmstat.HEADER, vmstat.SUMMARY),
        inner=_any(vmstat.ASKED, vmstat.HEADER),
        patience=2,
    ),
    Kind(cma.CMA, (b"/used", b"/maxchunk"), cma.ROW, 2),
    Kind(sar.SAR, (b"kbmemfree",), sar.ROW, 1, begins=sar.HEADER, patience=2),
    Kind(zramctl.ZRAMCTL, (b"DISKSIZE",), zramctl.ROW, 1, begins=zramctl.HEADER),
    Kind(
        memleak.MEMLEAK,
        (b"allocations from stack", b"outstanding allocations"),
        memleak.STACK,
        1,
        begins=_any(memleak.TITLE, memleak.STACK),
        inner=_any(memleak.TITLE, memleak.FRAME, memleak.UNKNOWN),
    ),
    Kind(
        dumpsys.DUMPSYS,
        (b"(pid ", b"RAM: ", b"MEMINFO in pid"),
        _any(dumpsys.ROW, dumpsys.ONE, dumpsys.SUM_OF_ONE),
        2,
        begins=_any(dumpsys.ROW, dumpsys.ONE, re.compile(rb"Total PSS by process")),
        inner=_any(dumpsys.ABOUT, dumpsys.PART_OF_ONE),
        patience=20,
    ),
    Kind(ps_mem.PS_MEM, (b"RAM used",), ps_mem.ROW, 2, begins=ps_mem.HEADER, patience=2),
    Kind(
        process_status.PROCESS_STATUS,
        (b"VmRSS", b"VmSize", b"Rss:", b"RssAnon"),
        process_status.ROW,
        3,
        begins=process_status.BEGINS,
        is_a_part=True,
        inner=process_status.ABOUT,
    ),
    Kind(
        processes.PROCESSES,
        (b"ps aux", b"ps -aux", b"COMMAND", b"CMD", b"Command  ", b"Command\n", b"Command\r", b"cmdline", b"ARGS"),
        processes.ROW,
        1,
        begins=_any(processes.HEADER, processes.ASKED),
        patience=1,
        is_generic=True,
    ),
    Kind(MEMINFO, (b"CmaTotal",), re.compile(rb"Cma(?:Total|Free): +\d{1,15} kB\s*$"), 2),
    Kind(
        MEMINFO,
        (b" kB", b"HugePages_"),
        re.compile(_MEMINFO_NAMES + rb": +\d{1,15} kB|HugePages_(?:Total|Free|Rsvd|Surp): +\d{1,15}\s*$"),
        3,
        patience=12,
        again=re.compile(rb"MemTotal: "),
        named=re.compile(rb"(?P<name>\w{2,30}(?:\(\w{4}\))?):"),
    ),
)
