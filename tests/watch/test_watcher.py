from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

import oomscope
from oomscope.model.notice import LOST, OOM, STORM, Incident
from oomscope.watch import collector, judging
from tests.watch.support import KILL, Running, add

TEXT = KILL.read_bytes().rstrip(b"\n") + b"\n"


def numbered(number: int) -> bytes:
    """The same report of another process: another cause, so that none is counted as a storm of it."""
    return TEXT.replace(b"cache-main", b"cache-%s" % bytes([97 + number % 26, 97 + number // 26 % 26]) * 1)


def test_an_oom_is_explained_a_second_after_it_fell_silent(tmp_path: Path) -> None:
    """What lies in the log first, then what is added; the answer is that of `explain`."""
    log = tmp_path / "kern.log"
    add(log, TEXT)
    with Running([log]) as watch:
        watch.wait_for(lambda: len(watch.kept.incidents) == 1)
        add(log, b"Sep 29 08:13:00 host kernel: [1.0] something else\n" + numbered(3))
        begun = time.monotonic()
        watch.wait_for(lambda: len(watch.kept.incidents) == 2)
        assert 0.9 < time.monotonic() - begun < 10
    first = watch.kept.incidents[0]
    assert first.notice is not None
    assert first.notice.headline == oomscope.explain(KILL).answer.headline
    assert first.source == str(log)
    assert first.surroundings is None, "a log of another machine has nothing to do with this one"


def test_every_event_is_told_once_over_restarts_and_rotations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped in the middle of a report, started again, the log rotated away meanwhile."""
    monkeypatch.setattr(collector, "SILENT_S", 20.0)
    log, marks = tmp_path / "kern.log", tmp_path / "marks.json"
    half = numbered(1).find(b"Mem-Info")
    add(log, numbered(0) + numbered(1)[:half])
    headlines: list[str] = []
    with Running([log], bookmarks=marks) as watch:
        watch.wait_for(lambda: len(watch.kept.incidents) == 1)
    headlines += [each.text for each in watch.kept.incidents]
    add(log, numbered(1)[half:])
    log.rename(tmp_path / "kern.log.1")
    add(log, numbered(2))
    monkeypatch.setattr(collector, "SILENT_S", 1.0)
    with Running([log], bookmarks=marks) as watch:
        watch.wait_for(lambda: len(watch.kept.incidents) == 2)
        log.rename(tmp_path / "kern.log.1")
        add(log, numbered(3))
        watch.wait_for(lambda: len(watch.kept.incidents) == 3)
    headlines += [each.text for each in watch.kept.incidents]
    with Running([log], bookmarks=marks) as watch:
        time.sleep(1.5)
    assert watch.kept.incidents == []
    assert len(headlines) == len(set(headlines)) == 4


@pytest.mark.slow
def test_a_storm_of_ten_thousand_kills_is_counted_to_the_last(tmp_path: Path) -> None:
    """Of three causes in turn: three incidents, and three counts."""
    log = tmp_path / "kern.log"
    lines = TEXT.split(b"\n")
    short = b"\n".join(
        line for line in lines if b"oom-killer" in line or b"Mem-Info" in line or b"illed process" in line
    )
    for _ in range(100):
        add(
            log,
            b"".join(
                short.replace(b"cache-main", b"cache-%s" % name) + b"\n" for name in (b"a", b"b", b"c", b"c") * 25
            ),
        )
    with Running([log]) as watch:
        watch.wait_for(lambda: not watch.watcher._is_open and len(watch.kept.incidents) >= 3, 300)
        time.sleep(1)
    assert LOST not in watch.kept.kinds()
    assert sum(each.count for each in watch.kept.incidents) == 10_000
    assert watch.kept.kinds().count(OOM) == 3


def test_an_outlet_that_hangs_delays_no_other(tmp_path: Path) -> None:
    """It is told of, when the others have it long since."""

    class Stuck:
        name = "stuck"
        released = threading.Event()

        def tell(self, _: Incident) -> None:
            self.released.wait(60)

        def close(self) -> None:
            """Nothing."""

    log = tmp_path / "kern.log"
    stuck = Stuck()
    add(log, TEXT)
    with Running([log], stuck) as watch:
        watch.wait_for(lambda: watch.kept.kinds() == [OOM])
        stuck.released.set()


def test_an_outlet_that_fails_is_counted_and_told(tmp_path: Path) -> None:
    """By the other outlets, with the reason."""

    class Broken:
        name = "the broken one"

        def tell(self, _: Incident) -> None:
            raise OSError("no route to host")

        def close(self) -> None:
            """Nothing."""

    log = tmp_path / "kern.log"
    add(log, TEXT)
    with Running([log], Broken()) as watch:
        watch.wait_for(lambda: watch.kept.kinds() == [OOM])
    lost = [each for each in watch.kept.incidents if each.kind == LOST]
    assert [each.text for each in lost] == ["lost 1 incidents for the broken one: no route to host"]


def test_a_judging_process_that_dies_ends_no_watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its report is lost, which is told; the next one is explained."""
    log = tmp_path / "kern.log"
    add(log, TEXT)
    monkeypatch.setattr(judging, "_JUDGE", "oomscope.units")  # ends at once
    with Running([log]) as watch:
        watch.wait_for(lambda: watch.watcher._judging.lost == 1)
        monkeypatch.setattr(judging, "_JUDGE", "oomscope.watch.judge")
        add(log, numbered(1))
        watch.wait_for(lambda: OOM in watch.kept.kinds())
    assert sorted(watch.kept.kinds()) == [LOST, OOM]


def test_the_judging_process_has_no_privileges_and_does_not_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is nobody, may gain nothing, and ends when there is nothing to judge."""
    monkeypatch.setattr(judging, "_IDLE_S", 2.0)
    log = tmp_path / "kern.log"
    add(log, TEXT)
    with Running([log]) as watch:
        watch.wait_for(lambda: watch.kept.kinds() == [OOM])
        process = watch.watcher._judging._process
        assert process is not None
        status = dict(
            line.split(":\t", 1)
            for line in Path(f"/proc/{process.pid}/status").read_text().splitlines()
            if ":\t" in line
        )
        assert status["NoNewPrivs"] == "1"
        if os.geteuid() == 0:
            assert status["Uid"].split() in (["65534"] * 4, ["0"] * 4)  # as where Python lies decides
            assert status["CapEff"] == status["CapPrm"] == "0" * 16
        watch.wait_for(lambda: watch.watcher._judging._process is None)


def test_a_storm_and_its_end_are_told(tmp_path: Path) -> None:
    """The same cause again and again: one in full, the rest when the watch ends."""
    log = tmp_path / "kern.log"
    add(log, TEXT * 4)
    with Running([log]) as watch:
        watch.wait_for(lambda: watch.kept.kinds() == [OOM])
        watch.wait_for(lambda: not watch.watcher._is_open)
    assert [(each.kind, each.count) for each in watch.kept.incidents] == [(OOM, 1), (STORM, 3)]
