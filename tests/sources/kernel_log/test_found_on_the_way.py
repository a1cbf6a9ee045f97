"""Reports that were once read wrongly, each with what is right by the kernel's own logic."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import zstandard

import oomscope
from oomscope.attribution.culprit import requester
from oomscope.model.verdict import Verdict
from oomscope.sources.kernel_log.source import KernelLog
from tests.support import captures, corpus

LOWMEM = """\
[ 1000.000000] rsync invoked oom-killer: gfp_mask={mask}, order={order}, oom_adj=0, oom_score_adj=0
[ 1000.000001] Pid: 4021, comm: rsync Not tainted 2.6.32-5-686-bigmem #1
[ 1000.000002] Mem-Info:
[ 1000.000003] active_anon:10000 inactive_anon:5000 isolated_anon:0
[ 1000.000003]  active_file:2000 inactive_file:3000 isolated_file:0
[ 1000.000003]  unevictable:0 dirty:0 writeback:0 unstable:0
[ 1000.000003]  free:986883 slab_reclaimable:90000 slab_unreclaimable:50000
[ 1000.000003]  mapped:500 shmem:100 pagetables:500 bounce:0
[ 1000.000004] DMA free:3552kB min:64kB low:80kB high:96kB present:15804kB
[ 1000.000005] lowmem_reserve[]: 0 860 4989 4989
[ 1000.000006] Normal free:3964kB min:3720kB low:4648kB high:5580kB present:881880kB
[ 1000.000007] lowmem_reserve[]: 0 0 33038 33038
[ 1000.000008] HighMem free:3940016kB min:512kB low:4968kB high:9424kB present:4228940kB
[ 1000.000009] lowmem_reserve[]: 0 0 0 0
[ 1000.000010] DMA: 8*4kB 6*8kB 5*16kB 4*32kB 3*64kB 2*128kB 1*256kB 1*512kB 0*1024kB 1*2048kB 0*4096kB = 3552kB
[ 1000.000011] Normal: 531*4kB 60*8kB 20*16kB 10*32kB 5*64kB 2*128kB 1*256kB 0*512kB 0*1024kB 0*2048kB 0*4096kB = 3964kB
[ 1000.000012] HighMem: 4*4kB 0*8kB 0*16kB 0*32kB 0*64kB 0*128kB 0*256kB 0*512kB 0*1024kB 0*2048kB 961*4096kB
[ 1000.000013] Free swap  = 0kB
[ 1000.000014] Total swap = 0kB
[ 1000.000015] 1294320 pages RAM
[ 1000.000016] 1066498 pages HighMem
[ 1000.000017] 14000 pages reserved
"""


def explained(text: str | bytes, folder: Path) -> Verdict:
    path = folder / "console.log"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return oomscope.explain(path)


def class_of(text: str | bytes, folder: Path) -> tuple[str, str | None]:
    oom = explained(text, folder).oom
    assert oom is not None
    return oom.oom_class, oom.certainty


@pytest.mark.parametrize("order", [0, 1])
def test_a_zone_between_min_and_high_is_used_up_when_the_oom_killer_is_called(order: int, tmp_path: Path) -> None:
    """__alloc_pages_may_oom() tries once more with `high`: lowmem that is a little above `min` was empty then."""
    assert class_of(LOWMEM.format(mask="0xd0", order=order), tmp_path) == ("lowmem-zone", "certain")


def test_a_request_kept_to_a_node_is_policy_without_a_constraint_line(tmp_path: Path) -> None:
    """Before 5.0 no line says CONSTRAINT_CPUSET; a cpuset that is not the root, and memory elsewhere, do."""
    text = captures.text(corpus.path("045-cpuset-movable-only-node.log")).decode()
    text = re.sub(r"(?m)^.*oom-kill:constraint.*\n", "", text)
    text = text.replace(
        "order=0, oom_score_adj=0", "order=0, oom_score_adj=0\n  runc:[2:INIT] cpuset=job mems_allowed=4", 1
    )
    verdict = explained(text, tmp_path)
    assert verdict.oom is not None
    assert verdict.oom.oom_class == "no-shortage"
    assert "nodes 4)" in verdict.oom.story[1]


@pytest.mark.parametrize("lost", ["header", "Mem-Info", "counters", "nodes"])
def test_a_report_whose_beginning_is_lost_keeps_its_class(lost: str, tmp_path: Path) -> None:
    """A ring buffer that has wrapped begins anywhere: what is left of a report is read."""
    lines = captures.text(corpus.path("106-steamdeck-pstore-memchewer.log")).split(b"\n")
    beginning = {
        "header": b"CPU: ",
        "Mem-Info": b"Mem-Info",
        "counters": b"slab_reclaimable:",
        "nodes": b"Node 0 DMA free",
    }
    first = next(index for index, line in enumerate(lines) if beginning[lost] in line)
    assert class_of(b"\n".join(lines[first:]), tmp_path)[0] == "user-anon"


@pytest.mark.parametrize("columns", [80, 89, 100])
def test_numbers_cut_at_the_width_of_a_terminal_are_not_trusted(columns: int, tmp_path: Path) -> None:
    """Several lines of one length, none longer: the last counter of each may be cut, and nothing rests on it."""
    lines = captures.text(corpus.path("086-nfsd-page-leak-88pct.log")).split(b"\n")
    padded = [b"Nov 19 21:02:11 a-host-with-a-long-name kernel: " + line for line in lines]
    cut = b"\n".join(line[:columns] for line in padded)
    verdict = explained(cut, tmp_path)
    assert verdict.oom is not None
    assert verdict.oom.certainty != "certain" or verdict.oom.oom_class == "hidden-kernel"
    assert any(f"cut at {columns} columns" in absent.what for absent in verdict.absent)


@pytest.mark.parametrize("words", ["SysRq : Show Memory", "sysrq: Show Memory"])
def test_a_listing_on_request_is_no_oom_however_full_the_machine(words: str, tmp_path: Path) -> None:
    """SysRq-m stands before its Mem-Info."""
    text = LOWMEM.format(mask="0xd0", order=0)
    listing = f"[  999.999999] {words}\n" + text[text.index("[ 1000.000002]") :]
    assert class_of(listing, tmp_path) == ("no-shortage", "certain")


def test_sysrq_f_of_kernels_that_print_order_0(tmp_path: Path) -> None:
    """The line before the header tells that an administrator asked."""
    text = "[  999.999999] SysRq : Manual OOM execution\n" + LOWMEM.format(mask="0xd0", order=0)
    assert class_of(text, tmp_path) == ("no-shortage", "certain")


def test_an_atomic_request_is_held_against_its_part_of_min(tmp_path: Path) -> None:
    """GFP_ATOMIC may use 5/8 of `min`: a zone above the rest that has no block is fragmented, not drained."""
    text = LOWMEM.format(mask="0xd0", order=0)
    text = text[text.index("[ 1000.000001]") :].replace(
        "Normal free:3964kB min:3720kB", "Normal free:3964kB min:8000kB"
    )
    text = "[ 1000.000000] swapper: page allocation failure: order:4, mode:0x4020\n" + text
    text = text.replace(
        "5*64kB 2*128kB 1*256kB 0*512kB 0*1024kB 0*2048kB", "0*64kB 0*128kB 0*256kB 0*512kB 0*1024kB 0*2048kB"
    )
    oom_class, _ = class_of(text, tmp_path)
    assert oom_class in ("fragmentation", "lowmem-zone")


KILLS = {
    "Out of memory: kill process 29861 (java) score 412345 or a child": 29861,
    "Memory cgroup out of memory: kill process 3391 (python) score 5 or a child": 3391,
}


@pytest.mark.parametrize("line", KILLS)
def test_kill_lines_of_2_6_32(line: str, tmp_path: Path) -> None:
    """Kill was written small, and a sacrifice was `a child`."""
    verdict = explained(f"[ 1000.000000] {line}\n", tmp_path)
    assert verdict.oom is not None
    assert verdict.oom.analysis is not None
    assert [victim.pid for victim in verdict.oom.analysis.event.victims] == [KILLS[line]]


def test_the_victim_is_who_was_killed_not_who_was_announced(tmp_path: Path) -> None:
    """`or sacrifice child`: the child is killed in the parent's stead."""
    text = LOWMEM.format(mask="0xd0", order=0)
    text += "[ 1000.1] Out of memory: Kill process 100 (apache2) score 5 or sacrifice child\n".replace(
        "1000.1", "1000.100000"
    )
    text += "[ 1000.100001] Killed process 105 (apache2) total-vm:90000kB, anon-rss:36000kB, file-rss:8kB\n"
    verdict = explained(text, tmp_path)
    assert verdict.oom is not None
    assert verdict.oom.analysis is not None
    assert [victim.pid for victim in verdict.oom.analysis.event.victims] == [105]


STATS = "anon 40000000\nfile 200000000\nkernel_stack 36864\nslab 2252800\nshmem 190000000\nfile_dirty 0\n"
MEMCG = (
    "[ 1000.000000] node invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\n"
    "[ 1000.000001] memory: usage 262144kB, limit 262144kB, failcnt 12\n"
    "[ 1000.000002] Memory cgroup stats for /a/b:{joint}{stats}\n"
    "[ 1000.000003] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,oom_memcg=/a/b,task=x\n"
)


@pytest.mark.parametrize("joint", ["#012", "\n", "\n[ 1000.000002] ", " "])
def test_memory_stat_in_every_form_of_a_log(joint: str, tmp_path: Path) -> None:
    """Escaped, continued without a stamp, stamped, or on one line: tmpfs fills the group, and is counted once."""
    text = MEMCG.format(joint=joint, stats=STATS.strip().replace("\n", joint))
    verdict = explained(text, tmp_path)
    assert verdict.oom is not None
    assert "filled with tmpfs and shared memory (181.2 MiB, 70.8 %)" in verdict.oom.story[1]
    assert "page cache" not in verdict.oom.story[1]


def test_a_panic_in_a_memory_cgroup_is_of_its_limit(tmp_path: Path) -> None:
    """panic_on_oom=2: the kernel panics of a group's OOM, and the group's limit stays the reason."""
    text = MEMCG[: MEMCG.index("[ 1000.000003]")].format(joint="\n", stats=STATS.strip())
    text += "[ 1000.000003] Kernel panic - not syncing: Out of memory: compulsory panic_on_oom is enabled\n"
    verdict = explained(text, tmp_path)
    assert verdict.oom is not None
    assert (verdict.oom.oom_class, verdict.oom.panic) == ("memcg-limit", True)


def test_the_groups_of_a_hierarchy_are_added_up(tmp_path: Path) -> None:
    """Version 1 prints a line of its own numbers per group: together they are what filled the parent."""
    lines = ["memory: usage 980kB, limit 980kB, failcnt 4"]
    lines += [f"Memory cgroup stats for /job{child}: cache:{100}KB rss:{300}KB" for child in ("", "/a", "/b")]
    text = MEMCG[: MEMCG.index("\n") + 1] + "".join(f"[ 1000.000001] {line}\n" for line in lines)
    verdict = explained(text, tmp_path)
    assert verdict.oom is not None
    assert verdict.oom.analysis is not None
    memcg = verdict.oom.analysis.event.memcg
    assert memcg is not None
    assert memcg.stat == {"cache": 300 * 1024, "rss": 900 * 1024}


def test_the_limit_that_was_reached_is_named(tmp_path: Path) -> None:
    """memory+swap at its limit, memory below: the former is the reason."""
    text = MEMCG[: MEMCG.index("\n") + 1]
    text += "[ 1000.000001] memory: usage 6000000kB, limit 8388608kB, failcnt 0\n"
    text += "[ 1000.000002] memory+swap: usage 8388608kB, limit 8388608kB, failcnt 45\n"
    verdict = explained(text, tmp_path)
    assert verdict.oom is not None
    assert "limit of memory+swap: 8.0 GiB" in verdict.oom.story[1]


def test_pstore_parts_are_read_from_the_oldest_on(tmp_path: Path) -> None:
    """The newest part comes first in such a file: the report in it is whole, and one."""
    lines = dmesg_of("086-nfsd-page-leak-88pct.log")
    third = len(lines) // 3
    parts = [lines[:third], lines[third : 2 * third], lines[2 * third :]]
    text = b"".join(
        b"Panic#1 Part%d\n" % (3 - i) + b"\n".join(part) + b"\n" for i, part in reversed(list(enumerate(parts)))
    )
    verdict = explained(text, tmp_path)
    assert verdict.oom is not None
    assert (verdict.oom.oom_class, verdict.oom.certainty) == ("hidden-kernel", "certain")
    assert len(verdict.events) == len(corpus.events_of("086-nfsd-page-leak-88pct.log"))


def dmesg_of(name: str) -> list[bytes]:
    return captures.text(corpus.path(name)).split(b"\n")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_a_log_saved_by_a_windows_terminal(encoding: str, tmp_path: Path) -> None:
    """UTF-16 with its mark is text."""
    text = captures.text(corpus.path("086-nfsd-page-leak-88pct.log")).decode()
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    assert class_of((mark + text).encode(encoding), tmp_path) == ("hidden-kernel", "certain")


def test_of_more_events_than_are_kept_the_last_ones_are(tmp_path: Path) -> None:
    """Twenty thousand kill lines: the last one is explained, in seconds."""
    line = "[ {}.000000] Out of memory: Killed process {} (a) total-vm:9kB, anon-rss:900000kB, file-rss:0kB\n"
    verdict = explained("".join(line.format(n, n) for n in range(1000, 21_000)), tmp_path)
    assert verdict.events[-1].text.endswith("killed a (20999)")
    assert verdict.at_ns == 20_999 * 10**9


@pytest.mark.parametrize("lines", [15, 55])
def test_lines_of_others_within_a_trace_cut_nothing_off(lines: int) -> None:
    """Frames have no word of their own: they are waited for, as long as the numbers have not begun."""
    header = "[    1.000000] kworker/0:1: page allocation failure: order:4, mode:0xcc0(GFP_KERNEL), nodemask=(null)\n"
    frames = (
        "dump_stack_lvl",
        "warn_alloc",
        "__alloc_pages",
        "___kmalloc_large_node",
        "__kmalloc",
        "take_it",
        "probe_it",
    )
    trace = [f"[    1.000001]  {name}+0x10/0x20\n" for name in frames]
    noise = [f"[    1.000001] usb 1-{n}: new high-speed USB device number {n} using xhci_hcd\n" for n in range(lines)]
    text = "".join((header, "[    1.000001] Call Trace:\n", *trace[:4], *noise, *trace[4:]))
    text += "[    1.000002] Mem-Info:\n[    1.000003] active_anon:1 inactive_anon:2 isolated_anon:0\n"
    parser = KernelLog().parser(ranking_only=True)
    list(parser.batches([text.encode()]))
    (event,) = parser.notes.log.events
    assert [frame.partition("+")[0] for frame in event.asked.stack] == list(frames)


def test_lines_of_syslog_within_records_are_lines_of_syslog(tmp_path: Path) -> None:
    """A container that logs what rsyslog wrote: the line ends that it escaped are ends, and its stamp counts."""
    log = corpus.path("021-el8-journald-cache-main.log")
    raw = zstandard.ZstdDecompressor().stream_reader(log.read_bytes()).read()
    lines = raw.decode("utf-8", "replace").splitlines()
    path = tmp_path / "container.log"
    path.write_text("".join(json.dumps({"log": line + "\n", "stream": "stdout"}) + "\n" for line in lines))
    plain, within = oomscope.explain(log), oomscope.explain(path)
    assert (within.answer.certainty, within.answer.headline) == (plain.answer.certainty, plain.answer.headline)
    assert within.balance is not None
    assert within.events[-1].stamp == plain.events[-1].stamp


def test_another_tasks_frames_are_not_of_the_report() -> None:
    """A hung task that the kernel told of in between has a trace of its own, under a title of its own."""
    frames = ("dump_stack_lvl", "warn_alloc", "__alloc_pages", "take_it", "probe_it")
    own = [f"[    1.000001]  {name}+0x10/0x20\n" for name in frames]
    others = "[    1.000001] INFO: task x:1 blocked for more than 120 seconds.\n[    1.000001] Call Trace:\n"
    others += "[    1.000001]  __schedule+0x10/0x20\n[    1.000001]  schedule+0x10/0x20\n"
    text = "[    1.000000] x: page allocation failure: order:4, mode:0xcc0(GFP_KERNEL)\n[    1.000001] Call Trace:\n"
    text += "".join(own) + others + "[    1.000002] Mem-Info:\n"
    parser = KernelLog().parser(ranking_only=True)
    list(parser.batches([text.encode()]))
    (event,) = parser.notes.log.events
    assert [frame.partition("+")[0] for frame in event.asked.stack] == list(frames)


def test_who_asked_is_not_guessed_from_a_cut_trace() -> None:
    """Where nothing but the allocator's own frames are left, nobody is named."""
    assert (
        requester(("dump_stack_lvl+0x1/0x2", "warn_alloc+0x1/0x2", "__alloc_pages+0x1/0x2", "__kmalloc+0x1/0x2"))
        is None
    )
    assert str(requester(("warn_alloc+0x1/0x2", "__alloc_pages+0x1/0x2", "__kmalloc+0x1/0x2", "f+0x1/0x2"))) == "f"
