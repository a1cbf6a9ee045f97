"""A real Dask scheduler and two worker processes on loopback: what the single machine says, row for row."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet
import pytest

from oomscope.errors import BadQuestion, OomscopeError
from oomscope.export import triage_tables
from oomscope.triage import steps
from oomscope.triage.cache import Cache
from oomscope.triage.dask_executor import DaskExecutor
from oomscope.triage.executor import Failed
from oomscope.triage.labels import Labels
from tests.support import fleets
from tests.support.fleets import lay_out, log, triaged, write
from tests.triage.test_outputs import run

DASK = Path(sys.executable).parent / "dask"


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """The address of a scheduler; its process and those of its two workers."""
    told = folder / "scheduler.json"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    started: list[subprocess.Popen[bytes]] = []
    try:
        scheduler = [
            DASK,
            "scheduler",
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--no-dashboard",
            "--scheduler-file",
            told,
        ]
        started.append(subprocess.Popen([str(word) for word in scheduler], **quiet))  # type: ignore[call-overload]
        worker = [DASK, "worker", "--scheduler-file", told, "--nthreads", "3", "--no-nanny", "--no-dashboard"]
        for number in range(2):
            command = [
                *worker,
                "--name",
                f"w{number}",
                "--host",
                "127.0.0.1",
                "--local-directory",
                folder / f"w{number}",
            ]
            started.append(subprocess.Popen([str(word) for word in command], **quiet))  # type: ignore[call-overload]
        deadline = time.monotonic() + 60
        while not told.exists() or b"address" not in told.read_bytes():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield json.loads(told.read_text())["address"], started
    finally:
        for process in started:
            process.kill()
            process.wait()


def many(folder: Path) -> Path:
    """A fleet large enough for a worker to be lost on the way."""
    lay_out(folder)
    for number in range(60):
        text = log(fleets.REPORTS[number % len(fleets.REPORTS)]) + b"\n%d\n" % number
        write(folder / "more" / f"{number:02}.log", text)
    return folder


@pytest.mark.slow
def test_a_cluster_gives_the_same_rows_though_a_worker_is_lost(tmp_path: Path) -> None:
    """Nothing lost, nothing twice: one of two workers is killed after the first results."""
    fleet = many(tmp_path / "fleet")
    here = triaged(fleet)
    with cluster(tmp_path) as (address, (_, *workers)):
        engine = DaskExecutor(address)
        killed: list[int] = []

        def kill_one(done: int, _total: int) -> None:
            if done == 5:
                workers[0].kill()
                workers[0].wait()
                killed.append(done)

        with engine, Cache(None) as results:
            engine._client.wait_for_workers(2, timeout=60)
            found = steps.find([str(fleet)], grouping="auto", engine=engine, by_content=False)
            steps.explain_all(found.units, engine=engine, results=results, progress=kill_one)
            there = list(steps.cases(found.units, results, Labels()))
    assert killed == [5]
    assert there == here


@pytest.mark.slow
def test_a_task_that_never_ends_is_told_on_a_cluster(tmp_path: Path) -> None:
    """With the same reason as here."""
    with cluster(tmp_path) as (address, _), DaskExecutor(address) as engine:
        told = dict(engine.run(time.sleep, [0.01, 0.02, 600.0, 0.03], limit_s=3))
    assert told == {0.01: None, 0.02: None, 0.03: None, 600.0: Failed("not done within 3 s (--case-timeout)")}


@pytest.mark.slow
def test_the_command_writes_the_same_tables(tmp_path: Path) -> None:
    """With --scheduler and without: three tables, part by part and row by row."""
    many(tmp_path / "fleet")
    run(tmp_path, "fleet", "--no-cache", "--parquet", "here")
    with cluster(tmp_path) as (address, _):
        run(tmp_path, "fleet", "--no-cache", "--parquet", "there", "--scheduler", address)
    for name in triage_tables.TABLES:
        here, there = (pyarrow.parquet.read_table(tmp_path / place / name) for place in ("here", "there"))
        assert there.equals(here)
        assert len(here)


@pytest.mark.slow
def test_a_scheduler_that_dies_ends_in_a_sentence(tmp_path: Path) -> None:
    """And what was finished before is kept."""
    fleet, kept = many(tmp_path / "fleet"), tmp_path / "kept.sqlite"
    with cluster(tmp_path) as (address, (scheduler, *_)), DaskExecutor(address) as engine, Cache(kept) as results:
        found = steps.find([str(fleet)], grouping="auto", engine=engine, by_content=True)

        def kill_it(done: int, _total: int) -> None:
            if done == 5:
                scheduler.kill()

        with pytest.raises(OomscopeError, match="the cluster is gone"):
            steps.explain_all(found.units, engine=engine, results=results, progress=kill_it)
    with Cache(kept) as results:
        assert len(results.take_over(steps.key(unit) for unit in found.units)) >= 5


def test_no_scheduler_there_is_said() -> None:
    """In one sentence, before anything is read."""
    with pytest.raises(BadQuestion, match=r"--scheduler tcp://127.0.0.1:1: .*refused"):
        DaskExecutor("tcp://127.0.0.1:1").__enter__()
    for address in ("nonsense://", "", "sched.json", "tcp://:", "tcp://host", "inproc://x"):
        with pytest.raises(BadQuestion, match="no address of a scheduler"):
            DaskExecutor(address).__enter__()
