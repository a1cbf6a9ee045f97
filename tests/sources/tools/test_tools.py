"""What other tools print: the figures that they have, in the units that they have them in."""

from __future__ import annotations

from pathlib import Path

import pytest

import oomscope
from oomscope.errors import NothingToExplain
from oomscope.model.verdict import Verdict

# procps 4, procps 3 in German, procps 3 before 3.3.10, and a row without its header.
FREE = {
    "new": "               total        used        free      shared  buff/cache   available\n"
    "Mem:        16267828    12905728      213616      501172     3148484     2538000\n",
    "comma": "              total        used        free      shared  buff/cache   available\n"
    "Mem:           15Gi       12,3Gi       208Mi       489Mi       3,0Gi       2,4Gi\n",
    "old": "             total       used       free     shared    buffers     cached\n"
    "Mem:      16267828   16054212     213616     501172     110168    2537144\n"
    "-/+ buffers/cache:   13406900    2860928\n",
    "bare": "Mem:         16062      12391       3671          0          0         43\n"
    "-/+ buffers/cache:      12347       3714\n",
}
TOP = """\
top - 10:02:01 up 12 days,  3:04,  2 users,  load average: 12.31, 9.10, 5.01
MiB Mem :  15886.6 total,    210.3 free,  14900.1 used,    776.2 buff/cache
MiB Swap:   2048.0 total,   1900.0 free,    148.0 used.    410.0 avail Mem

    PID USER      PR  NI    VIRT    RES    SHR S  %CPU  %MEM     TIME+ COMMAND
   4123 mysql     20   0   14.2g  11.1g   3.2m S   5.0  71.5 100:10.11 mysqld
   5123 www-data  20   0  512000 200000   3000 S   1.0   1.2   1:10.11 php-fpm: pool www
   5124 www-data  20   0  512000 210000   3000 S   1.0   1.2   1:10.11 php-fpm: pool www
"""
PS = """\
USER       PID %CPU %MEM    VSZ   RSS TTY      STAT START   TIME COMMAND
root         1  0.0  0.1 168108 11200 ?        Ss   Jan01   0:10 /sbin/init
mysql     4123  5.0 71.5 14200000 11640000 ?   Ssl  Jan01 100:10 /usr/sbin/mysqld --daemonize
"""
PROCRANK = """\
  PID       Vss      Rss      Pss      Uss  cmdline
  890   84456K   48668K   25850K   21284K  system_server
  947   34488K   28528K   10834K    9308K  com.android.wallpaper
"""
DUMPSYS = """\
Applications Memory Usage (in Kilobytes):
Uptime: 93110333 Realtime: 192822012

Total PSS by process:
    431,433K: system (pid 1500)
    280,206K: com.android.systemui (pid 1900 / activities)

Total PSS by OOM adjustment:
    431,433K: System
        431,433K: system (pid 1500)

Total RAM: 3,800,340K (status normal)
 Free RAM:   931,111K (  412,331K cached pss +   362,220K cached kernel +   156,560K free)
 Used RAM: 2,000,000K (1,700,000K used pss +   300,000K kernel)
 Lost RAM:   869,001K
"""
MEMLEAK = """\
[04:25:44] Top 10 stacks with outstanding allocations:
\t8192 bytes in 1 allocations from stack
\t\t0xffffffff88267387\told_news+0x1 [kernel]
[04:25:49] Top 10 stacks with outstanding allocations:
\t81920 bytes in 20 allocations from stack
\t\t0xffffffff88267387\tkmem_cache_alloc_lru+0x267 [kernel]
\t\t0xffffffff88310f24\t__d_alloc+0x34 [kernel]
\t40960000 bytes in 10000 allocations from stack
\t\t0xffffffff88267387\t__alloc_pages+0x267 [kernel]
\t\t0xffffffffc0310f24\tleak_it+0x34 [leaky]
"""
VMSTAT = """\
procs -----------memory---------- ---swap-- -----io---- -system-- ------cpu-----
 r  b   swpd   free   buff  cache   si   so    bi    bo   in   cs us sy id wa st
 1  0      0 2448924 384428 734696    0    0   141     6   42   68  0  0 99  1  0
 0  0      0  448940 384428 834696    0    0     0     0   40   53  0  0 100  0  0
"""
VMSTAT_S = """\
      4020152 K total memory
       452268 K used memory
       754376 K active memory
      2448760 K free memory
       384428 K buffer memory
       734696 K swap cache
      4192252 K total swap
      4192252 K free swap
         1784 non-nice user cpu ticks
"""
SMEM = """\
Area                           Used      Cache   Noncache
firmware/hardware                 0          0          0
kernel image                      0          0          0
kernel dynamic memory       6123456     812345    5311111
userspace memory            1234567     234567    1000000
free memory                  612345     612345          0
"""
CMA = """\
/sys/kernel/debug/cma/cma-reserved/count:65536
/sys/kernel/debug/cma/linux,cma/count:16384
/sys/kernel/debug/cma/cma-reserved/used:60321
/sys/kernel/debug/cma/linux,cma/used:1201
/sys/kernel/debug/cma/cma-reserved/maxchunk:512
/sys/kernel/debug/cma/linux,cma/maxchunk:8192
"""
ALONE: tuple[tuple[str, str, str], ...] = (
    ("vmstat", VMSTAT, "Cached is the largest of the counters that were given: 815.1 MiB"),
    (
        "vmstat -S M",
        "$ vmstat -S M 5\n" + VMSTAT.replace("834696", "9000").replace("384428", "384"),
        "Cached is the largest of the counters that were given: 8.8 GiB",
    ),
    ("vmstat -s", VMSTAT_S, "memory is not short: 2.3 GiB, 60.9 % of RAM is free"),
    ("smem -w", SMEM, "largest user of RAM: kernel memory that is no page cache 5.1 GiB (66.6 % of RAM)"),
    ("CMA", CMA, "reserved has most contiguous memory in use: "),
    ("ps", PS, "mysqld is the largest by name: 11.1 GiB of resident memory in 1 process"),
    ("procrank", PROCRANK, "system_server is the largest by name: 25.2 MiB (Pss) in 1 process"),
    ("memleak", MEMLEAK, "leak_it [leaky] allocated most of what memleak saw allocated and not freed: 39.1 MiB"),
    (
        "zramctl",
        (
            "NAME       ALGORITHM DISKSIZE  DATA COMPR TOTAL STREAMS MOUNTPOINT\n"
            "/dev/zram0 lzo-rle         8G  7.5G  3.1G  3.3G       8 [SWAP]\n"
        ),
        "zram0 takes 3.3 GiB for what it has compressed (7.5G stored, 3.1G compressed)",
    ),
    (
        "ps_mem",
        (
            " Private  +   Shared  =  RAM used\tProgram\n\n124.0 KiB + 154.0 KiB = 278.0 KiB\tinit\n"
            "  2.5 GiB +   2.6 GiB =   5.1 GiB\tapache2 (5)\n---------------------------------\n"
            "                          5.1 GiB\n"
        ),
        "apache2 is the largest by name: 5.1 GiB of resident memory in 5 processes",
    ),
    (
        "kmem -s",
        (
            "CACHE             OBJSIZE  ALLOCATED     TOTAL  SLABS  SSIZE  NAME\n"
            "ffff0800a6a34100      144       1533      1540     55     4k  ext4_groupinfo_4k\n"
            "ffff0800a82f7000      192   20133000  20506940 488261     8k  kmalloc-192\n"
        ),
        "kmalloc-192 is the largest slab cache: 3.7 GiB, 20,133,000 objects in use",
    ),
    (
        "status",
        (
            "Name:\tmysqld\nUmask:\t0022\nState:\tS (sleeping)\nVmPeak:\t15000000 kB\n"
            "VmRSS:\t11600000 kB\nVmSwap:\t 2000000 kB\n"
        ),
        "mysqld is the largest by name: 11.1 GiB",
    ),
    (
        "node meminfo",
        (
            "Node 0 MemTotal:       65843504 kB\n"
            "Node 0 MemFree:          512000 kB\nNode 0 FilePages:       1000000 kB\n"
            "Node 0 AnonPages:       2000000 kB\n"
            "Node 0 Shmem:             10000 kB\nNode 0 SReclaimable:     500000 kB\n"
            "Node 0 SUnreclaim:     59500000 kB\n"
            "Node 1 MemTotal:       66059260 kB\nNode 1 MemFree:         6000000 kB\n"
            "Node 1 FilePages:      50000000 kB\n"
            "Node 1 AnonPages:       2000000 kB\nNode 1 Shmem:              1000 kB\n"
            "Node 1 SReclaimable:     100000 kB\nNode 1 SUnreclaim:      7000000 kB\n"
        ),
        "slab holds 64.0 GiB",
    ),
    (
        "oomctl",
        (
            "Dry Run: no\nSwap Used Limit: 90%\nSystem Context:\n        Memory: Used: 3.5G Total: 3.7G\n"
            "        Swap: Used: 914.5M Total: 43.7G\nMemory Pressure Monitored CGroups:\n"
            "        Path: /user.slice/user-1000.slice\n                Current Memory Usage: 1.1G\n"
        ),
        "/user.slice/user-1000.slice is the largest control group: 1.1 GiB",
    ),
    (
        "arcstats",
        (
            "13 1 0x01 123 33456 8423423 1234234234\nname                            type data\n"
            "hits                            4    128964145\n"
            "size                            4    66571993088\nc_max                           4    67108864000\n"
        ),
        "ZFS' ARC takes 62.0 GiB; the kernel does not count it",
    ),
)


def answer(tmp_path: Path, text: str) -> Verdict:
    """Of a file with this text."""
    path = tmp_path / "pasted.txt"
    path.write_text(text)
    return oomscope.explain(path, page_size_bytes=4096)


def test_small_figures_of_free_have_no_unit_unless_asked_for(tmp_path: Path) -> None:
    """251 is a small board's MiB and a large server's GiB: nothing is concluded from it."""
    table = (
        "               total        used        free      shared  buff/cache   available\n"
        "Mem:             251         180          17           0          53          65\n"
    )
    with pytest.raises(NothingToExplain, match="may be MiB or GiB"):
        answer(tmp_path, table)
    asked = answer(tmp_path, "$ free -g\n" + table)
    assert asked.balance is not None
    assert asked.balance.ram_pages * 4096 == 251 << 30


@pytest.mark.parametrize("form", FREE)
def test_free_has_the_same_figures_in_every_form(tmp_path: Path, form: str) -> None:
    """All of RAM, what is free, the page cache, whatever unit was asked for."""
    verdict = answer(tmp_path, FREE[form])
    assert verdict.balance is not None
    of = {row.kind: row.pages * 4096 / 2**30 for row in verdict.balance.rows}
    total, free = verdict.balance.ram_pages * 4096 / 2**30, of["free"]
    assert total == pytest.approx(15.5, abs=0.6)
    assert free == pytest.approx(3.6 if form == "bare" else 0.2, abs=0.05)
    assert verdict.answer.certainty == "possible"  # process memory and slab are not told


def test_top_tells_ram_and_who_has_it(tmp_path: Path) -> None:
    """The lines above the table are of the same machine; a name may have blanks."""
    verdict = answer(tmp_path, TOP)
    assert verdict.answer.headline == (
        "mysqld is the largest by name: 11.1 GiB (71.5 % of RAM) of resident memory in 1 process"
    )
    assert [(e.name, e.count) for e in verdict.accounts[0].entries] == [("mysqld", 1), ("php-fpm", 2)]


def test_busybox_has_no_total(tmp_path: Path) -> None:
    """What is used and what is free make all of it."""
    verdict = answer(tmp_path, "Mem: 27216K used, 2532K free, 0K shrd, 1384K buff, 4208K cached\nCPU:   0% usr\n")
    assert verdict.balance is not None
    assert verdict.balance.ram_pages == (27216 + 2532) // 4


def test_dumpsys_names_what_is_lost_and_counts_each_process_once(tmp_path: Path) -> None:
    """Processes stand in it several times."""
    verdict = answer(tmp_path, DUMPSYS)
    parts, processes = verdict.accounts
    assert {(e.name, e.amount >> 10) for e in parts.entries} >= {("lost RAM (not counted)", 869001), ("free", 156560)}
    assert [(e.name, e.amount >> 10) for e in processes.entries] == [
        ("system", 431433),
        ("com.android.systemui", 280206),
    ]
    assert "848.6 MiB (22.9 % of RAM) is unaccounted for (Lost RAM)" in [f.claim for f in verdict.findings]


def test_sar_uses_the_time_at_which_least_was_there(tmp_path: Path) -> None:
    """Of newer versions "used" leaves out what is cached, so that RAM follows from the share."""
    head = "00:00:02    kbmemfree   kbavail kbmemused  %memused kbbuffers  kbcached  kbcommit   %commit\n"
    verdict = answer(
        tmp_path,
        f"Linux 5.18.0 (host) 10/08/22 _x86_64_ (12 CPU)\n\n{head}"
        "00:10:01      2751536  20160848  11453448     35.25   1807816  13886772  17495276     52.24\n"
        "00:20:01      2722236  20133256  11479196     35.33   1810128  13886860  17628556     52.64\n"
        "Average:      2700000  20100000  11450000     35.20   1800000  13800000  17500000     52.00\n",
    )
    assert verdict.balance is not None
    assert verdict.balance.ram_pages == pytest.approx(11479196 / 0.3533 / 4, rel=0.001)
    assert verdict.answer.headline == "memory is not short: 19.2 GiB, 62.0 % of RAM is available"


@pytest.mark.parametrize(("text", "claim"), [each[1:] for each in ALONE], ids=[each[0] for each in ALONE])
def test_each_names_its_largest(tmp_path: Path, text: str, claim: str) -> None:
    """Alone, and between prose and a prompt."""
    for pasted in (text, f"Hello,\nthis is what I see:\n\n$ tool\n{text}\nAny idea?\n"):
        claims = [finding.claim for finding in answer(tmp_path, pasted).findings]
        assert [each for each in claims if each.startswith(claim)] != [], claims


@pytest.mark.parametrize(("text", "claim"), [each[1:] for each in ALONE], ids=[each[0] for each in ALONE])
def test_what_stands_behind_it_is_not_lost(tmp_path: Path, text: str, claim: str) -> None:
    """A second account in the same text answers, too."""
    claims = [finding.claim for finding in answer(tmp_path, f"{text}\n$ cat /proc/slabinfo\n{SLABINFO}").findings]
    assert [each for each in claims if each.startswith(claim)] != [] or "largest slab cache" in claim
    assert [each for each in claims if "dentry" in each or "kmalloc-192" in each] != []


SLABINFO = """\
slabinfo - version: 2.1
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit>
dentry             47807  50589    192   21    1 : tunables    0    0    0 : slabdata   2409   2409      0
radix_tree_node    452    453    584   28    4 : tunables    0    0    0 : slabdata   16   16      0
"""


def test_slabinfo_proves_its_page_size(tmp_path: Path) -> None:
    """21 objects of 192 bytes fill one page of 4 KiB, and 28 of 584 bytes four."""
    path = tmp_path / "slabinfo"
    path.write_text(SLABINFO)
    kernel = oomscope.explain(path).kernel
    assert (kernel.page_size_bytes, "slabinfo" in kernel.page_size_proof) == (4096, True)
    larger = SLABINFO.replace("192   21    1", "192  341    1").replace("584   28    4", "584  448    4")
    path.write_text(larger)
    assert oomscope.explain(path).kernel.page_size_bytes == 65536
