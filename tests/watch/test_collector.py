from __future__ import annotations

from pathlib import Path

import pytest

from oomscope.errors import OomscopeError
from oomscope.model.oom_event import SHOWN
from oomscope.pipeline.api import explain_events
from oomscope.verdict.oom.case import NO_SHORTAGE
from oomscope.watch.collector import SILENT_S, Collector, Stretch
from oomscope.watch.followers.follower import FollowedLine
from oomscope.watch.judge import answered
from tests.support import captures, corpus

KILL = Path(__file__).parents[2] / "examples/kill-4.18.log"
REAPED = b"[ 12.000000] oom_reaper: reaped process 3117813 (cache-main), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB"
# Explained in one go, a report whose beginning is lost, and the header behind it, are one event or none: see the tests.
DIFFERENT = {
    "003-el6-phpfpm-800-tasks.log": 1,  # its last line begins another report, of which nothing else is there
}


def stretches(lines: list[bytes], *, step_s: float = 0.0, caller: bytes | None = None) -> list[Stretch]:
    collector, now = Collector(), 0.0
    found: list[Stretch] = []
    for number, line in enumerate(lines):
        now += step_s
        found += collector.take(FollowedLine(line, caller, [number]), now)
        found += collector.silent(now)
    return [*found, *collector.silent(now + SILENT_S)]


LOGS = sorted(path.name.removesuffix(".zst") for path in corpus.CORPUS.glob("*.log.zst"))


@pytest.mark.parametrize("name", LOGS)
def test_report_by_report_the_answers_are_those_of_the_whole_log(name: str) -> None:
    """A real log, a line at a time: each event is explained as `explain --all` explains it, and once."""
    log = captures.text(corpus.path(name))
    try:
        verdicts = explain_events(log)
    except OomscopeError:
        verdicts = []
    expected = [
        verdict.answer.headline
        for verdict in verdicts
        if verdict.oom is not None
        and verdict.oom.analysis is not None
        and (verdict.oom.analysis.event.kind, verdict.answer.oom_class) != (SHOWN, NO_SHORTAGE)
    ]
    told = [answered(stretch.text) for stretch in stretches(log.split(b"\n"))]
    assert [each.failure for each in told if each.failure] == []
    found = [notice.headline for each in told for notice in each.notices]
    more = DIFFERENT.get(name, 0)
    assert len(found) == len(expected) + more
    assert set(expected) <= set(found)


def test_a_report_is_whole_a_second_after_its_last_line() -> None:
    """Whatever else the kernel prints meanwhile: other lines do not keep it open."""
    collector = Collector()
    now = 0.0
    for number, line in enumerate(KILL.read_bytes().split(b"\n")):
        assert list(collector.take(FollowedLine(line, None, [number]), now)) == []
    ended_at = 0.9 * SILENT_S
    for number in range(10):
        list(collector.take(FollowedLine(b"[ 9.000000] usb 1-1: new device", None, [9000 + number]), ended_at))
    assert collector.silent(ended_at) == []
    (stretch,) = collector.silent(SILENT_S)
    assert len(answered(stretch.text).notices) == 1


def test_the_next_report_ends_the_one_before() -> None:
    """Two kills without a pause: each is a stretch of its own, and the first need not wait."""
    lines = KILL.read_bytes().split(b"\n")
    found = stretches([*lines, *lines])
    assert len(found) == 2
    assert all(len(answered(each.text).notices) == 1 for each in found)


def test_the_reapers_line_alone_is_no_kill() -> None:
    """It may come seconds after a kill that was told, and after a restart nobody knows that."""
    lines = KILL.read_bytes().split(b"\n")
    assert len(stretches([*lines, *[b"[ 11.000000] usb 1-1: new device"] * 3, REAPED], step_s=0.001)) == 1
    assert len(stretches([*lines, REAPED], step_s=2 * SILENT_S)) == len(stretches(lines, step_s=2 * SILENT_S))
    assert stretches([REAPED]) == []


def test_after_a_restart_an_open_report_is_read_anew() -> None:
    """The position is behind all that was given out, and before what is still open."""
    lines = KILL.read_bytes().split(b"\n")
    collector = Collector()
    list(collector.take(FollowedLine(b"[ 1.000000] something else", None, [1]), 0.0))
    for number, line in enumerate(lines):
        list(collector.take(FollowedLine(line, None, [2 + number]), 0.0))
    assert collector.position == [1]
    assert len(collector.silent(SILENT_S)) == 1
    assert collector.position == [1 + len(lines)]


def test_groups_of_a_memory_cgroups_kill_are_seen_at_once() -> None:
    """Both of them, though nothing is judged yet."""
    line = b"[ 1.0] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/kubepods/a,"
    collector = Collector()
    list(collector.take(FollowedLine(line + b"task_memcg=/kubepods/a/b,task=eat,pid=7,uid=0", None, [1]), 0.0))
    opened = collector.opened(None)
    assert opened is not None
    assert opened.groups == ("/kubepods/a", "/kubepods/a/b")


def test_reports_of_two_callers_are_two_though_their_lines_are_mixed() -> None:
    """As two processors print at once, where the kernel tells callers: each its own victim, and its own stretch."""
    lines = KILL.read_bytes().split(b"\n")
    others = [line.replace(b"cache-main", b"other-task") for line in lines]
    collector = Collector()
    mixed = [(b"T1", line) for line in lines], [(b"T2", line) for line in others]
    for number, (caller, line) in enumerate(each for pair in zip(*mixed, strict=True) for each in pair):
        assert list(collector.take(FollowedLine(line, caller, [number]), 0.0)) == []
    found = [answered(stretch.text).notices for stretch in collector.silent(SILENT_S)]
    assert [notice.victims[0][1] for (notice,) in found] == ["cache-main", "other-task"]
