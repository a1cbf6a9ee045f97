"""The forms that kernels print, as transcriptions of their printf; whole reports are in the corpus and the lab."""

from __future__ import annotations

from typing import Any

import pytest

from oomscope import bounds
from oomscope.model.oom_event import OomEvent
from oomscope.sources.kernel_log.source import KernelLogParser
from tests.support import corpus

HEADER = "[   12.000000] sh invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\n"


def event_of(text: str) -> OomEvent:
    (event,) = corpus.events(text.encode())
    return event


# mm/oom_kill.c dump_header(), by release.
HEADERS: dict[str, tuple[str, dict[str, Any]]] = {
    "2.6.32": (
        "sshd invoked oom-killer: gfp_mask=0x200d2, order=0, oom_adj=0, oom_score_adj=0",
        {"comm": "sshd", "order": 0, "gfp_mask": 0x200D2, "gfp_flags": ()},
    ),
    "4.6": (
        "cpu hotplug invoked oom-killer: gfp_mask=0x27080c0(GFP_KERNEL_ACCOUNT|__GFP_ZERO), order=1, oom_score_adj=0",
        {"comm": "cpu hotplug", "order": 1, "gfp_flags": ("GFP_KERNEL_ACCOUNT", "__GFP_ZERO")},
    ),
    "4.10": (
        "balloon invoked oom-killer: gfp_mask=0x17080c0(GFP_KERNEL), nodemask=(null),  order=0, oom_score_adj=0",
        {"comm": "balloon", "order": 0},
    ),
    "5.0": (
        "in:imjournal invoked oom-killer: gfp_mask=0x6200ca(GFP_HIGHUSER_MOVABLE), order=0, oom_score_adj=0",
        {"comm": "in:imjournal", "gfp_flags": ("GFP_HIGHUSER_MOVABLE",)},
    ),
    "SysRq-f": (
        "kworker/0:2 invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=-1, oom_score_adj=0",
        {"comm": "kworker/0:2", "order": -1},
    ),
    "page fault": (
        "runc:[2:INIT] invoked oom-killer: gfp_mask=0x0(), order=0, oom_score_adj=0",
        {"comm": "runc:[2:INIT]", "gfp_mask": 0, "gfp_flags": ()},
    ),
    "allocation failure, 2.6.18": (
        "swapper: page allocation failure. order:0, mode:0x20",
        {"comm": "swapper", "order": 0, "gfp_mask": 0x20},
    ),
    "allocation failure, 3.x": (
        "java: page allocation failure: order:4, mode:0x10c0d0",
        {"comm": "java", "order": 4, "gfp_mask": 0x10C0D0},
    ),
    "allocation failure, 5.x": (
        "kswapd0: page allocation failure: order:0, mode:0xcc0(GFP_KERNEL), nodemask=(null),cpuset=/,mems_allowed=0-1",
        {"comm": "kswapd0", "order": 0, "gfp_flags": ("GFP_KERNEL",)},
    ),
    "stall": (
        "dd: page allocation stalls for 10000ms, order:2, mode:0x14000c0(GFP_KERNEL)",
        {"comm": "dd", "order": 2},
    ),
    "vmemmap": (
        "kworker/0:1: vmemmap alloc failure: order:9, mode:0x4cc0(GFP_KERNEL|__GFP_RETRY_MAYFAIL), nodemask=(null)",
        {"comm": "kworker/0:1", "order": 9},
    ),
    "vmalloc, no range": (
        "swapon: vmalloc error: size 4194304, vm_struct allocation failed, mode:0xdc0(GFP_KERNEL|__GFP_ZERO)",
        {"comm": "swapon", "size_bytes": 4194304, "gfp_mask": 0xDC0},
    ),
    "vmalloc, too large": (
        "syz: vmalloc error: size 1701924884, exceeds total pages, mode:0xce0(GFP_KERNEL|__GFP_HIGH)",
        {"comm": "syz", "size_bytes": 1701924884},
    ),
    "vmalloc, no pages": (
        "qemu: vmalloc error: size 0, page order 9, failed to allocate pages, mode:0xdc2(GFP_KERNEL|__GFP_HIGHMEM)",
        {"comm": "qemu", "order": 9},
    ),
    "vmalloc, 3.x": (
        "modprobe: vmalloc: allocation failure: 17178820608 bytes, mode:0x80d2",
        {"comm": "modprobe", "size_bytes": 17178820608},
    ),
    "vmap": ("vmap allocation for size 2400256 failed: use vmalloc=<size> to increase size", {"size_bytes": 2400256}),
}


@pytest.mark.parametrize("form", HEADERS)
def test_every_header(form: str) -> None:
    """Who asked for what, in every form that a header has had."""
    line, expected = HEADERS[form]
    asked = event_of(f"[   12.000000] {line}\n[   12.000001] Mem-Info:\n[   12.000002] lowmem_reserve[]: 0 0 0\n").asked
    assert {name: getattr(asked, name) for name in expected} == expected


CPU_LINES = {
    "Pid: 24113, comm: sshd Not tainted 2.6.32-431.11.2.el6.x86_64 #1": (24113, "2.6.32-431.11.2.el6.x86_64"),
    "CPU: 4 PID: 29481 Comm: sed Not tainted 3.10.0-514.el7 #1": (29481, "3.10.0-514.el7"),
    "CPU: 3 UID: 1000 PID: 9919 Comm: htop Tainted: G        W  O       6.15.11 #21 PREEMPT(full)": (9919, "6.15.11"),
    "CPU: 2 PID: 977 Comm: xfs_db Kdump: loaded Not tainted 4.18.0-139.el8.ppc64le+debug #1": (
        977,
        "4.18.0-139.el8.ppc64le+debug",
    ),
    "CPU: 1 PID: 7 Comm: a b Tainted: [W]=WARN 6.12.1 #1": (7, "6.12.1"),
}


@pytest.mark.parametrize("line", CPU_LINES)
def test_every_line_about_the_task(line: str) -> None:
    """Pid and release stand behind the header in as many forms."""
    event = event_of(HEADER + f"[   12.000001] {line}\n")
    assert (event.asked.pid, event.release) == CPU_LINES[line]


# mm/oom_kill.c dump_tasks(): the header, a row, and what the row says.
TABLES = {
    "2.6.32": (
        "[ pid ]   uid  tgid total_vm      rss cpu oom_adj oom_score_adj name",
        "[13550]   500 13550  3116506  1906906   3       0             0 java",
        {"rss": 1906906, "total_vm": 3116506, "oom_score_adj": 0},
    ),
    "3.10": (
        "[ pid ]   uid  tgid total_vm      rss nr_ptes swapents oom_score_adj name",
        "[  503]     0   503     9204      420      21      120         -1000 auditd",
        {"rss": 420, "nr_ptes": 21, "swapents": 120, "oom_score_adj": -1000},
    ),
    "4.14": (
        "[ pid ]   uid  tgid total_vm      rss nr_ptes nr_pmds nr_puds swapents oom_score_adj name",
        "[  503]     0   503     9204      420      21       3       2        0             0 a name of its own",
        {"rss": 420, "nr_pmds": 3, "nr_puds": 2},
    ),
    "4.15": (
        "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name",
        "[    517]   110   517   480000   412000  3800000   107000             0 clamd",
        {"rss": 412000, "pgtables_bytes": 3800000},
    ),
    "6.8": (
        "[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents oom_score_adj name",  # noqa: E501
        "[  10047]  1000 10047  3670681  3389256  3389241       15         0 27262976        0             0 memchewer",
        {"rss": 3389256, "rss_anon": 3389241, "rss_file": 15, "rss_shmem": 0},
    ),
}


@pytest.mark.parametrize("release", TABLES)
def test_every_set_of_columns(release: str) -> None:
    """Columns are known by the table's own header; the rest of a row is the name."""
    header, row, expected = TABLES[release]
    event = event_of(HEADER + f"[   12.1] {header}\n".replace("12.1", "12.100000") + f"[   12.100001] {row}\n")
    (process,) = event.processes
    assert {name: process.values[name] for name in expected} == expected
    assert process.comm == row.split(None, len(header.split("]")[1].split()))[-1][:15] or process.comm in row


KILLS = {
    "Out of memory: Kill process 13550 (java) score 416 or sacrifice child": (13550, "java", {}),
    "Killed process 13550, UID 500, (java) total-vm:12466024kB, anon-rss:7625016kB, file-rss:2608kB": (
        13550,
        "java",
        {"total-vm": 12466024, "anon-rss": 7625016, "file-rss": 2608},
    ),
    "Out of memory: Killed process 7 ((sd-pam)) total-vm:698888kB, anon-rss:601632kB, file-rss:1056kB, shmem-rss:4kB": (
        7,
        "(sd-pam)",
        {"total-vm": 698888, "anon-rss": 601632, "file-rss": 1056, "shmem-rss": 4},
    ),
    "Out of memory (oom_kill_allocating_task): Killed process 9 (a) total-vm:1kB, anon-rss:2kB, file-rss:3kB": (
        9,
        "a",
        {"total-vm": 1, "anon-rss": 2, "file-rss": 3},
    ),
}


@pytest.mark.parametrize("line", KILLS)
def test_every_line_of_a_kill(line: str) -> None:
    """Who was killed, and what it held."""
    (victim,) = event_of(HEADER + f"[   12.200000] {line}\n").victims
    assert (victim.pid, victim.comm, victim.kib) == KILLS[line]


MEMCGS = {
    "v1, one line": (
        (
            "Task in /mem2 killed as a result of limit of /mem2\n"
            "memory: usage 980kB, limit 980kB, failcnt 4152239\n"
            "memory+swap: usage 0kB, limit 18014398509481983kB, failcnt 0\n"
            "Memory cgroup stats for /mem2: cache:0KB rss:980KB mapped_file:0KB unevictable:0KB\n"
        ),
        ("/mem2", 980, 980, {"rss": 980 * 1024, "cache": 0}),
    ),
    "v2": (
        (
            "memory: usage 524288kB, limit 524288kB, failcnt 12\n"
            "swap: usage 0kB, limit 0kB, failcnt 0\n"
            "Memory cgroup stats for /leaker:\nanon 532480000\nfile 0\nslab 12345\n"
            "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/leaker,"
            "task_memcg=/leaker/a,task=x,pid=5,uid=0\n"
        ),
        ("/leaker", 524288, 524288, {"anon": 532480000, "slab": 12345}),
    ),
    "v2, on one line": (
        (
            "memory: usage 1024kB, limit 1024kB, failcnt 2\n"
            "Memory cgroup stats for /foo: anon 1032192 file 0 kernel_stack 36864 slab 225280\n"
        ),
        ("/foo", 1024, 1024, {"anon": 1032192, "kernel_stack": 36864}),
    ),
}


@pytest.mark.parametrize("form", MEMCGS)
def test_every_form_of_a_memory_cgroup(form: str) -> None:
    """Path, usage, limit and memory.stat, in bytes, of both versions."""
    text, (path, usage, limit, stat) = MEMCGS[form]
    memcg = event_of(HEADER + "".join(f"[   12.300000] {line}\n" for line in text.splitlines())).memcg
    assert memcg is not None
    assert (memcg.path, memcg.usage_kib, memcg.limit_kib) == (path, usage, limit)
    assert {name: memcg.stat[name] for name in stat} == stat


SITES = {
    "6.10, bytes": (
        "  3176243200   247900 mm/slub.c:2264 func:alloc_slab_page",
        (3176243200, 247900, "mm/slub.c:2264", None, "alloc_slab_page"),
    ),
    "6.11": (
        "  124 MiB    31813 mm/readahead.c:187 func:ractl_alloc_folio",
        (124 << 20, 31813, "mm/readahead.c:187", None, "ractl_alloc_folio"),
    ),
    "of a module": (
        " 1.03 GiB   511334 fs/xfs/xfs_icache.c:82 [xfs] func:xfs_inode_alloc",
        (round(1.03 * 2**30), 511334, "fs/xfs/xfs_icache.c:82", "xfs", "xfs_inode_alloc"),
    ),
}


@pytest.mark.parametrize("title", ["Memory allocations:", "Memory allocations (profiling is currently turned on):"])
@pytest.mark.parametrize("form", SITES)
def test_every_form_of_allocation_profiling(form: str, title: str) -> None:
    """Bytes, calls, place, module and function of a call site."""
    row, expected = SITES[form]
    (site,) = event_of(HEADER + f"[   12.400000] {title}\n[   12.400000] {row}\n").call_sites
    assert (site.size_bytes, site.calls, site.place, site.module, site.function) == expected


PANICS = {
    "System is deadlocked on memory": "OOM panic",
    "Out of memory: system-wide panic_on_oom is enabled": "OOM panic",
    "Out of memory: compulsory panic_on_oom is enabled": "OOM panic",
    "Out of memory and no killable processes...": "OOM panic",
    "Fatal exception": "OOM kill",
}


@pytest.mark.parametrize("message", PANICS)
def test_every_panic(message: str) -> None:
    """A panic of the OOM killer makes the event one; another panic is told and does not."""
    event = event_of(HEADER + f"[   12.500000] Kernel panic - not syncing: {message}\n")
    assert (event.kind, event.panic_message) == (PANICS[message], message)


def test_the_unreclaimable_slab_table() -> None:
    """Names of any length, used and total."""
    rows = ["Unreclaimable slab info:", "Name                      Used          Total"]
    rows += ["tcp_bind_bucket           29KB         32KB", "a_very_long_cache_name_of_a_driver      7KB     59164KB"]
    event = event_of(HEADER + "".join(f"[   12.600000] {row}\n" for row in rows))
    assert [(cache.name, cache.used_kib, cache.total_kib) for cache in event.slab_caches] == [
        ("tcp_bind_bucket", 29, 32),
        ("a_very_long_cache_name_of_a_driver", 7, 59164),
    ]


@pytest.mark.parametrize("size_kib", [4, 16, 64])
def test_the_page_size_is_the_smallest_block(size_kib: int) -> None:
    """The first block of the free lists is a page."""
    lists = " ".join(f"1*{size_kib << order}kB" for order in range(5))
    event = event_of(HEADER + f"[   12.7] Node 0 Normal: {lists} = 99kB\n".replace("12.7", "12.700000"))
    assert event.page_kib == size_kib


def test_the_page_size_without_free_lists_comes_from_two_units() -> None:
    """Counters in pages and the nodes' in kB are of the same memory."""
    counters = "active_anon:309 inactive_anon:1964781 isolated_anon:0"
    node = "Node 0 active_anon:19776kB inactive_anon:125745984kB active_file:6016kB"
    event = event_of(HEADER + f"[   12.700000] {counters}\n[   12.700000] {node}\n")
    assert event.page_kib == 64


HOSTILE = {
    "an underflow": "Node 0 DMA free:8kB min:99999999999999999999999kB low:16kB managed:64kB",
    "a number beyond 64 bits": "free:99999999999999999999 free_pcp:1 free_cma:0",
    "an absurd pool": "Node 0 hugepages_total=1 hugepages_free=1 hugepages_surp=0 hugepages_size=9999999999999999kB",
    "an escape": "sh\x1b[2J invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL\x1b]0;x\x07), order=0, oom_score_adj=0",
    "ten megabytes": "Mem-Info: " + "9" * (10 << 20),
    "a thousand digits": "9" * 1000 + " pages RAM",
    "minus": "-5 pages RAM",
}


@pytest.mark.parametrize("line", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_lines_are_text_and_never_amounts(line: str) -> None:
    """No such number is taken; what is taken fits 63 bits; nothing of the input can move a terminal."""
    events = corpus.events((HEADER + f"[   12.800000] {line}\n").encode())
    for event in events:
        amounts = [*event.counters.values(), *event.totals.values()]
        amounts += [value for zone in event.zones for value in zone.kib.values()]
        assert all(0 <= amount < 1 << 62 for amount in amounts)
        assert "\x1b" not in str(event)


def test_lines_that_say_nothing_end_an_event() -> None:
    """Traces and registers may stand in a report; thousands of such lines in a row are of something else."""
    head = b"[    1.000000] a invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0\n[    1.000000] Mem-Info:\n"
    tail = b"[    1.000000] free:23\n"
    for lines, counted in ((100, {"free": 23}), (bounds.EVENT_LINES_PASSED + 1, {})):
        parser = KernelLogParser()
        assert list(parser.batches([head, b"[    1.000000] lr : 12\n" * lines, tail])) == []
        assert parser.notes.log.events[0].counters == counted


def test_a_cgroups_path_ends_where_the_next_field_begins() -> None:
    """With commas in it, and with blanks that a paste has put behind them."""
    for rest in (",task_memcg=/a,b/c,task=sh,pid=7,uid=0", ", task=sh, pid=7, uid=0", ""):
        event = event_of(f"{HEADER}oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),oom_memcg=/a,b{rest}\n")
        assert event.memcg is not None
        assert event.memcg.path == "/a,b"
