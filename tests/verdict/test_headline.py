"""The first line: who, how much, what happened, when; and what it does not claim."""

from __future__ import annotations

import pytest

import oomscope
from tests.support.fleets import log

EARLYOOM = """\
earlyoom[1460]: mem avail: 15342 of 15881 MiB (96.61%), swap free: 4095 of 4095 MiB (100.00%)
earlyoom[1460]: mem avail:    56 of 15881 MiB ( 0.35%), swap free: 2555 of 4095 MiB (62.38%)
"""
# The header of a kdump kernel's failure, cut within its release at the end of what was pasted.
CUT = """\
[    1.488770] swapper/0: page allocation failure: order:5, mode:0xcc1(GFP_KERNEL|GFP_DMA), nodemask=(null)
[    1.490000] CPU: 0 PID: 1 Comm: swapper/0 Not tainted 5.1"""
TWO_MEMINFO = """\
$ cat /proc/meminfo
MemTotal:        8062712 kB
MemFree:          590000 kB
Buffers:            1000 kB
Cached:            16000 kB
Slab:              36000 kB

$ cat /proc/meminfo
MemTotal:        8062712 kB
MemFree:          566876 kB
Buffers:            1048 kB
Cached:            16000 kB
SReclaimable:       4900 kB
SUnreclaim:        31032 kB
PageTables:         3916 kB
"""
HEADLINES = {
    "021-el8-journald-cache-main.log": "cache-main (pid 3117813) used 4.6 of 5.5 GiB RAM; the kernel killed it "
    "(Sep 29 08:12:34)",
    "003-el6-phpfpm-800-tasks.log": "processes used 29.9 of 31.3 GiB RAM, the largest by resident memory 458 php-fpm; "
    "the kernel killed mysqld (pid 40738) (Jun 20 12:47:02)",
    "069-bridge-fdb-atomic-panic.log": "the log does not show why: it lacks Mem-Info; the kernel panicked "
    "(273.864203 s after boot)",
    "107-bpf-psi-oom-constraint.log": "a BPF policy called the OOM killer for /cgroup-test-work-dir673/oom_test/cg2, "
    "which used 41.2 MiB; no limit was reached; the kernel killed test_progs (pid 675) (315.224875 s after boot)",
    "063-nfs-mount-order5-96GB.log": "no free block of 128.0 KiB (order 5) for mount.nfs (pid 20454), with 2.1 GiB "
    "free in smaller or unsuitable blocks (15224590.671256 s after boot)",
    "086-nfsd-page-leak-88pct.log": "873.7 of 988.3 MiB RAM is unaccounted for: the kernel or a driver took it; the "
    "kernel panicked (121971.920000 s after boot)",
    "027-leaker-memcg-caller-id.log": "memory cgroup /leaker reached its limit of 512.0 MiB; leaker (pid 6736) held "
    "509.5 MiB; the kernel killed it (49.921978 s after boot)",
}


@pytest.mark.parametrize("name", HEADLINES)
def test_headlines_of_each_kind(name: str) -> None:
    """As reviewed, from the logs that people published."""
    assert oomscope.explain(log(name)).answer.headline == HEADLINES[name]


def test_a_killer_that_killed_nobody_is_not_said_to_have_acted() -> None:
    """Earlyoom reports every hour; its last report before the end is what counts."""
    verdict = oomscope.explain(EARLYOOM.encode())
    assert verdict.answer.headline.startswith("earlyoom reported, and killed nobody in this log: mem avail:    56 of")
    assert any("56 of 15881" in line for finding in verdict.findings for line in finding.because)
    assert "-m for RAM" in verdict.answer.next


def test_a_release_that_is_cut_is_not_known() -> None:
    """5.1 at the end of the text may be of 5.1.18, or of 5.18."""
    verdict = oomscope.explain(CUT.encode())
    assert isinstance(verdict.kernel.release, oomscope.Unknown)
    whole = oomscope.explain((CUT + ".18-300.fc30.x86_64 #1").encode())
    assert whole.kernel.release == "5.1.18-300.fc30.x86_64"


def test_a_row_that_was_not_there_has_not_grown_from_nothing() -> None:
    """A reading without SUnreclaim says nothing of it."""
    verdict = oomscope.explain(TWO_MEMINFO.encode())
    assert not any("from 0 B" in finding.claim for finding in verdict.findings)


def test_a_cut_table_names_nobody() -> None:
    """The row of the process that has 4.6 GiB is lost: the others are not said to be all there is."""
    lines = log("021-el8-journald-cache-main.log").splitlines(keepends=True)
    headline = oomscope.explain(b"".join(lines[:84])).answer.headline
    assert headline.startswith("processes used 4.9 of 5.5 GiB RAM; the task table in this log has only ")
    killed = oomscope.explain(b"".join([*lines[:70], *lines[94:]])).answer.headline
    assert killed == HEADLINES["021-el8-journald-cache-main.log"]


def test_shared_memory_is_nobodys_own() -> None:
    """Three processes map one segment: resident memory counts it three times, and none of them used it all."""
    lines = log("021-el8-journald-cache-main.log").decode().splitlines()
    at = next(i for i, line in enumerate(lines) if "[3117813]" in line)
    rows = [
        lines[at].replace("3117813", f"400000{n}").replace("1214746", "1300000").replace("cache-main", "postgres")
        for n in (1, 2)
    ]
    headline = oomscope.explain([*lines[: at + 1], *rows, *lines[at + 1 :]]).answer.headline
    assert headline == HEADLINES["021-el8-journald-cache-main.log"]


MEMCG = """\
[   10.000000] java invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0
[   10.000001] memory: usage 1048576kB, limit {memory}kB, failcnt 10
[   10.000001] memory+swap: usage 1048576kB, limit {both}kB, failcnt {failed}
[   10.000002] Memory cgroup stats for /a:
[   10.000002] anon {anon}
[   10.000002] shmem {shmem}
[   10.000003] [  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name
[   10.000003] [   1234]     0  1234   300000   {rss}   500000        {swap}             0 postgres
[   10.000003] [   1235]     0  1235   300000   {rss}   500000        {swap}             0 checkpointer
[   10.000004] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg=/a,\
task=postgres,pid=1234,uid=0
[   10.000005] Memory cgroup out of memory: Killed process 1234 (postgres) total-vm:1200000kB, anon-rss:60kB, \
file-rss:0kB, shmem-rss:999940kB, UID:0 pgtables:500kB oom_score_adj:0
"""


def test_shared_memory_of_a_group_is_nobodys_own() -> None:
    """memory.stat says that nearly nothing is anonymous: no process used the group's memory."""
    text = MEMCG.format(memory=1048576, both=9999999, failed=0, anon=1000, shmem=10**9, rss=250001, swap=0)
    headline = oomscope.explain(text.splitlines()).answer.headline
    assert headline.startswith("memory cgroup /a reached its limit of 1.0 GiB")
    assert "used" not in headline


def test_a_group_that_is_killed_whole_is_one_event() -> None:
    """memory.oom.group: every kill line behind it is of the same event."""
    verdict = oomscope.explain(log("100-cc1-memcg-v2-480MB-zram-41-kills.log"))
    assert len(verdict.events) == 1
    assert "cc1 (pid 5646) held 21.3 MiB; the kernel killed it and 38 more" in verdict.answer.headline


def test_the_rest_of_a_victims_row_is_shared() -> None:
    """Its kill line has 100 MB of its own; its row, which counts what it shares, does not make it the largest."""
    lines = log("021-el8-journald-cache-main.log").decode().replace("anon-rss:4805020kB", "anon-rss:100000kB")
    headline = oomscope.explain(lines.splitlines()).answer.headline
    assert headline.startswith("processes used 4.9 of 5.5 GiB RAM")
    assert "; the kernel killed cache-main (pid 3117813)" in headline


def test_a_member_of_a_group_has_what_its_kill_line_says() -> None:
    """One row, nearly all of the limit by resident memory, 60 kB of it its own; the group has no statistics."""
    text = MEMCG.format(memory=1048576, both=9999999, failed=0, anon=1000, shmem=10**9, rss=250001, swap=0)
    told = [line for line in text.splitlines() if "1235]" not in line and " anon " not in line and "stats" not in line]
    headline = oomscope.explain(told).answer.headline
    assert headline.startswith("memory cgroup /a reached its limit of 1.0 GiB")
    assert "used" not in headline
