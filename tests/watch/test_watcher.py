from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import oomscope
from oomscope.model.notice import LOST, OOM, STORM, Incident
from oomscope.watch import collector, judging, watcher
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
        watch.wait_for(lambda: OOM in watch.kept.kinds())
    lost = [each for each in watch.kept.incidents if each.kind == LOST]
    assert [each.text for each in lost] == ["lost 1 of the incidents for the broken one: no route to host"]


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
    """The same cause again and again: one in full, the rest as a count."""
    log = tmp_path / "kern.log"
    add(log, TEXT * 4)
    with Running([log]) as watch:
        watch.wait_for(lambda: sum(each.count for each in watch.kept.incidents) == 4)
    assert [(each.kind, each.count) for each in watch.kept.incidents] == [(OOM, 1), (STORM, 3)]


def test_what_waits_behind_a_report_that_kills_the_judge_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is lost, which is told; another process is started for the others."""
    log, wrapper = tmp_path / "kern.log", tmp_path / "dies_once.py"
    wrapper.write_text(
        "import os, sys\n"
        f"if os.path.exists({str(tmp_path / 'died')!r}):\n"
        "    from oomscope.watch.judge import main\n"
        "    main([])\n"
        "else:\n"
        f"    open({str(tmp_path / 'died')!r}, 'w').close()\n"
        "    os.read(0, 1 << 16)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr("sys.path", [*sys.path, str(tmp_path)])
    monkeypatch.setattr(judging, "_JUDGE", "dies_once")
    add(log, b"".join(map(numbered, range(6))))
    with Running([log]) as watch:
        watch.wait_for(lambda: watch.kept.kinds().count(OOM) == 5)
    assert watch.watcher._judging.lost == 1
    assert watch.kept.kinds().count(LOST) == 1


def test_a_judge_that_hangs_delays_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked to end, the watch ends; what was in hand is lost, and counted."""
    monkeypatch.setattr(watcher, "_END_S", 1.0)
    (tmp_path / "hangs.py").write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setattr("sys.path", [*sys.path, str(tmp_path)])
    monkeypatch.setattr(judging, "_JUDGE", "hangs")
    log = tmp_path / "kern.log"
    add(log, TEXT)
    with Running([log]) as watch:
        watch.wait_for(lambda: watch.watcher._judging.is_busy)
        before = time.thread_time()
        time.sleep(2)
        assert time.thread_time() - before < 1
    assert watch.watcher._judging.lost == 1


def test_nothing_is_loaded_from_the_current_folder(tmp_path: Path) -> None:
    """Whoever runs it as root in a folder of somebody else's runs none of that one's code."""
    (tmp_path / "msgspec.py").write_text(f"open({str(tmp_path / 'loaded')!r}, 'w').close()\nraise ImportError\n")
    add(tmp_path / "kern.log", TEXT)
    command = [sys.executable, "-P", "-m", "oomscope", "watch", "--file", "kern.log", "--once"]
    env = {**os.environ, "PYTHONPATH": str(Path(oomscope.__file__).parents[1])}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert "cache-main (pid 3117813) used 4.6 of 5.5 GiB RAM" in done.stdout
    assert not (tmp_path / "loaded").exists()


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "oomscope", "watch", "--once", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_state_that_is_something_else_is_not_overwritten(tmp_path: Path) -> None:
    """The log itself, say: one sentence, and it stays as it was."""
    log = tmp_path / "kern.log"
    add(log, TEXT)
    done = run("--file", log, "--state", log)
    assert (done.returncode, log.read_bytes()) == (2, TEXT)
    assert "would be overwritten" in done.stderr


@pytest.mark.parametrize("position", ['["a", "b"]', "[1, null, 2]", "[5]", "[1, -5, 3]", "7", "{}"])
def test_a_damaged_position_counts_as_none(tmp_path: Path, position: str) -> None:
    """The log is read from its beginning."""
    log, state = tmp_path / "kern.log", tmp_path / "state"
    add(log, TEXT)
    state.write_text(f'{{"boot": "", "positions": {{"{log}": {position}}}}}')
    done = run("--file", log, "--state", state)
    assert done.returncode == 0, done.stderr
    assert "cache-main" in done.stdout


def test_what_was_lost_at_the_end_is_told_and_counts(tmp_path: Path) -> None:
    """A webhook that nobody listens on: on standard error, by the exit code, without what its address hides."""
    log = tmp_path / "kern.log"
    add(log, TEXT)
    done = run("--file", log, "--webhook", "http://127.0.0.1:9/hooks/SECRET")
    assert done.returncode == 5
    assert "lost 1 of the incidents for the webhook at 127.0.0.1" in done.stderr
    assert "SECRET" not in done.stderr + done.stdout


def test_a_log_without_any_oom_is_said(tmp_path: Path) -> None:
    """So that nobody takes silence for health."""
    add(tmp_path / "kern.log", b"[    1.000000] usb 1-1: new device\n")
    done = run("--file", tmp_path / "kern.log")
    assert (done.returncode, done.stdout) == (0, "")
    assert "no OOM in 1 line" in done.stderr


def test_an_old_event_has_its_own_date_and_nothing_of_now(tmp_path: Path) -> None:
    """Neither the time of reading, nor the memory that the machine has today."""
    add(tmp_path / "kern.log", TEXT)
    done = run("--file", tmp_path / "kern.log", "--this-machine", "--format", "json")
    told = json.loads(done.stdout)
    assert told["at"][5:10] == "09-29"
    assert "surroundings" not in told
    assert told["place"]["unit"] == "varnish.service"
