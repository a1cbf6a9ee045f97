"""A triage says of each case what `explain` says, loses none, and redoes none."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

import oomscope
from fuzz.packed import tar_of
from oomscope.errors import BadQuestion, NothingToExplain
from oomscope.model.answer import BY_STACKS, LACKING, NO_REPORT
from oomscope.model.triage import ANSWERS, Case
from oomscope.pipeline.api import read
from oomscope.triage import clusters, steps
from oomscope.triage.cache import Cache
from oomscope.triage.executor import Failed
from oomscope.triage.labels import Labels
from oomscope.triage.processes import Processes
from oomscope.verdict import judge_each
from tests.support import captures, fleets
from tests.support.fleets import lay_out, log, triaged, write

EXAMPLE = Path(__file__).parents[2] / "examples" / "leak-6.12"
OOMSCOPE = Path(sys.executable).parent / "oomscope"


def test_each_case_is_what_explain_says(tmp_path: Path) -> None:
    """Class, certainty, headline, findings and consumers of every event are those of the same pipeline by itself."""
    cases = triaged(lay_out(tmp_path / "fleet"))
    by_path: dict[str, list[Case]] = {}
    for case in cases:
        by_path.setdefault(case.path, []).append(case)
    for path, of_path in by_path.items():
        verdicts = judge_each(read(path))
        assert len(of_path) == len(verdicts)
        for case, verdict in zip(of_path, verdicts, strict=True):
            row = case.result.row
            assert row.headline == verdict.answer.headline
            assert row.oom_class == (NO_REPORT if verdict.oom is None else verdict.oom.oom_class)
            assert [f.claim for f in case.result.findings] == [f.claim for f in verdict.findings]
            assert [c.pages for c in case.result.consumers] == [c.pages for c in verdict.consumers[:100]]
            assert [c.stack for c in case.result.consumers] == [c.holding.stack.texts for c in verdict.consumers[:100]]
            assert row.stacks == verdict.counted_stacks


def test_the_names_of_cases_are_their_paths(tmp_path: Path) -> None:
    """Logs and archives are a case each, a number behind each OOM of several; a folder of other files is one."""
    cases = triaged(lay_out(tmp_path / "fleet"))
    names = [case.name for case in cases]
    assert len(set(names)) == len(names)
    assert "site-0/host-9/case.tar" in names
    assert "site-1/leak" in names
    assert [n for n in names if "042-i386" in n] == [
        f"site-0/host-1/042-i386-mkfs-lowmem-wrapped-x2.log#{number}" for number in (1, 2, 3)
    ]


def test_every_case_is_counted_once(tmp_path: Path) -> None:
    """Failed or answered, and in one class; the clusters have all that did not fail."""
    folder = lay_out(tmp_path / "fleet")
    write(folder / "empty.log", b"")
    cases = triaged(folder)
    told = clusters.triage_of(cases)
    assert told.cases == len(cases)
    assert told.failed == 1
    assert sum(told.answers.values()) == told.cases - told.failed
    assert sum(count for _, count, _ in told.classes) == told.cases
    assert sum(cluster.cases for cluster in told.clusters) == told.cases - told.failed
    assert set(told.answers) == set(ANSWERS)


def test_the_question_of_the_study(tmp_path: Path) -> None:
    """Hidden kernel memory without stacks lacks page owner data; a dump with them got it; a full swap needs none."""
    cases = {case.name: case.result.row for case in triaged(lay_out(tmp_path / "fleet"))}
    answered = {name.rpartition("/")[2]: row.answered_by for name, row in cases.items()}
    assert LACKING in {answered[name] for name in answered if "086-nfsd-page-leak" in name}
    assert answered["leak"] == BY_STACKS
    assert answered["001-el6-sshd-java-swap-full.log"] == "report"
    assert cases["site-1/leak"].culprit == "leak_mb_write"
    assert cases["site-1/leak"].pages == captures.LEAKED_PAGES


@pytest.fixture
def counted_engine() -> type[Processes]:
    class Counted(Processes):
        def __init__(self) -> None:
            super().__init__(2)
            self.explained: list[str] = []

        def run(self, work, tasks, *, limit_s=None):  # type: ignore[no-untyped-def]
            for task, result in super().run(work, tasks, limit_s=limit_s):
                if hasattr(task, "name"):
                    self.explained.append(task.name)
                yield task, result

    return Counted


def test_a_finished_case_is_known_by_its_content(tmp_path: Path, counted_engine: type[Processes]) -> None:
    """A second triage explains nothing but what is new, though everything has moved; the rows are the same."""
    fleet = lay_out(tmp_path / "fleet")
    kept = tmp_path / "kept.sqlite"
    first = triaged(fleet, results=kept)
    moved = fleet.rename(tmp_path / "moved")
    write(moved / "site-0" / "new.log", log("003-el6-phpfpm-800-tasks.log"))
    engine = counted_engine()
    second = triaged(moved, results=kept, engine=engine)
    assert engine.explained == ["site-0/new.log"]  # type: ignore[attr-defined]
    old = {case.name: case.result for case in first}
    assert {case.name: case.result for case in second if case.name in old} == old


def test_an_interrupted_triage_goes_on(tmp_path: Path, counted_engine: type[Processes]) -> None:
    """What was finished before it ended is not done again."""
    fleet, kept = lay_out(tmp_path / "fleet"), tmp_path / "kept.sqlite"

    class Enough(Exception):
        pass

    def enough(done: int, _total: int) -> None:
        if done == 4:
            raise Enough

    with Processes(2) as engine, Cache(kept) as results:
        found = steps.find([str(fleet)], grouping="auto", engine=engine, by_content=True)
        with pytest.raises(Enough):
            steps.explain_all(found.units, engine=engine, results=results, progress=enough)
    counted = counted_engine()
    cases = triaged(fleet, results=kept, engine=counted)
    units = {case.name.partition("#")[0] for case in cases}
    assert len(counted.explained) == len(units) - 4  # type: ignore[attr-defined]


def test_results_of_another_version_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rules may be others."""
    fleet, kept = lay_out(tmp_path / "fleet"), tmp_path / "kept.sqlite"
    triaged(fleet, results=kept)
    monkeypatch.setattr("oomscope.triage.cache.version", lambda: "another")
    with Cache(kept) as results, Processes(1) as engine:
        found = steps.find([str(fleet)], grouping="auto", engine=engine, by_content=True)
        assert results.take_over(steps.key(unit) for unit in found.units) == set()


def spoilt(folder: Path) -> Iterator[tuple[str, str]]:
    """Cases that cannot be explained, each with words of its reason."""
    write(folder / "empty.log", b"")
    yield "empty.log", "empty"
    write(folder / "cut.tar.zst", zstandard.compress(tar_of({"kern.log": log(fleets.REPORTS[0])}))[:400])
    yield "cut.tar.zst", "cut"
    with zipfile.ZipFile(folder / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("kern.log", b"[    1.000000] hello\n" * (20 << 20))
    yield "bomb.zip", "a bomb"
    write(folder / "noise.bin", bytes(range(256)) * 300)
    yield "noise.bin", "binary data"
    write(folder / "quiet.log", b"[    1.000000] hello\n" * 100)
    yield "quiet.log", "without any OOM"
    (folder / "loop").symlink_to(folder)
    yield "loop", "not followed"
    (folder / "self").symlink_to("self")
    yield "self", "leads nowhere"
    (folder / "gone").symlink_to("nowhere")
    yield "gone", "leads nowhere"
    os.mkfifo(folder / "fifo")
    yield "fifo", "neither a file nor a folder"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "socket"))
    yield "socket", "neither a file nor a folder"


@pytest.mark.slow
def test_what_cannot_be_explained_stands_with_its_reason(tmp_path: Path) -> None:
    """Beside them the rest is right."""
    fleet = lay_out(tmp_path / "fleet")
    whole = {case.name: case.result for case in triaged(fleet)}
    reasons = dict(spoilt(fleet))
    cases = {case.name: case.result for case in triaged(fleet)}
    assert {name: result for name, result in cases.items() if name not in reasons} == whole
    for name, words in reasons.items():
        row = cases[name].row
        assert row.failure is not None
        assert words in row.failure
        assert str(tmp_path) not in row.failure
        assert row.exit_code in (1, 3)


def test_a_folder_that_may_not_be_looked_into_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cases are missing, and the result says so; root may look anywhere, so that the refusal is made here."""
    from fsspec.implementations.local import LocalFileSystem

    fleet = lay_out(tmp_path / "fleet")
    ls = LocalFileSystem.ls

    def refused(self: LocalFileSystem, path: str, detail: bool = False, **more: object) -> object:
        if path.endswith("host-1"):
            raise PermissionError(13, "Permission denied", path)
        return ls(self, path, detail, **more)

    monkeypatch.setattr(LocalFileSystem, "ls", refused)
    failures = {case.name: case.result.row.failure for case in triaged(fleet) if case.result.row.failure}
    assert failures == {f"site-{site}/host-1": "the folder cannot be looked into: permission denied" for site in (0, 1)}


def test_two_cases_of_one_name_stay_two(tmp_path: Path) -> None:
    """Places whose relative names are the same, and one that is named twice."""
    one, other = tmp_path / "a" / "kern.log", tmp_path / "b" / "kern.log"
    write(one, log(fleets.REPORTS[0]))
    write(other, log(fleets.REPORTS[1]))
    names = [case.name for case in triaged(one, other, one)]
    assert names == [f"{str(path).lstrip('/')}" for path in (one, other)]
    with Processes(1) as engine:
        found = steps.find([str(one), str(tmp_path)], grouping="auto", engine=engine, by_content=False)
    assert len(found.units) == 2
    assert "1 case more" in found.notes[0]


def test_nothing_to_do_is_said(tmp_path: Path) -> None:
    """A place that is not there, and one without a file."""
    with pytest.raises(BadQuestion, match="no such file"):
        triaged(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NothingToExplain, match="no file in it"):
        triaged(tmp_path / "empty")


def test_what_is_one_case_can_be_said(tmp_path: Path) -> None:
    """Each file, or each folder directly below the place."""
    fleet = lay_out(tmp_path / "fleet")
    assert {case.name.partition("#")[0] for case in triaged(fleet, grouping="folder")} == {"site-0", "site-1"}
    names = {case.name for case in triaged(fleet / "site-1" / "leak", grouping="file")}
    assert names == {"page_owner.zst", "meminfo"}


def test_a_case_of_several_moments_is_one() -> None:
    """The bundled example as it lies in its folder."""
    (case,) = triaged(EXAMPLE)
    verdict = oomscope.explain(EXAMPLE)
    assert case.name == "leak-6.12"
    assert case.result.row.pages == verdict.culprits[0].pages


def die_of_seven(number: int) -> int:
    """Work that ends its process once in a while; at the top of a module, where other processes find it."""
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def test_a_task_that_kills_its_process_is_told_and_the_rest_is_done() -> None:
    """Tried three times; every other task gives its result, once."""
    with Processes(2) as engine:
        told = dict(engine.run(die_of_seven, range(40)))
    assert len(told) == 40
    died = told.pop(7)
    assert died == Failed("the process that read it died (SIGKILL), 3 times")
    assert told == {number: number * number for number in range(40) if number != 7}


def never_end_of_seven(number: int) -> int:
    """Work that hangs once in a while; at the top of a module, where other processes find it."""
    while number == 7:
        time.sleep(1)
    return number * number


def test_a_task_that_never_ends_is_told_and_the_rest_is_done() -> None:
    """It fails with its time limit as the reason."""
    with Processes(2) as engine:
        told = dict(engine.run(never_end_of_seven, range(20), limit_s=2))
    assert told.pop(7) == Failed("not done within 2 s (--case-timeout)")
    assert told == {number: number * number for number in range(20) if number != 7}


def children_of(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def busy_workers(pid: int) -> list[int]:
    """The processes that do the work, children of the one that forks them, once they have used some CPU."""
    return [worker for child in children_of(pid) for worker in children_of(child) if cpu_ticks(worker) >= 5]


def cpu_ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


def test_a_worker_that_is_killed_costs_no_case(tmp_path: Path) -> None:
    """The command, with a process of its pool killed from outside while it works."""
    fleet = tmp_path / "fleet"
    for number in range(60):
        write(fleet / f"{number:02}.log", log(fleets.REPORTS[number % len(fleets.REPORTS)]) + b"\n%d\n" % number)
    answer = tmp_path / "told.json"
    command = [
        str(OOMSCOPE),
        "triage",
        str(fleet),
        "--no-cache",
        "--workers",
        "2",
        "--format",
        "json",
        "-o",
        str(answer),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        killed = 0
        while process.poll() is None and not killed:
            for pid in busy_workers(process.pid)[:1]:
                os.kill(pid, signal.SIGKILL)
                killed = pid
            time.sleep(0.01)
        assert process.wait() == 0
    assert killed
    told = json.loads(answer.read_text())
    names = Counter(case["case"].partition("#")[0] for case in told["cases"])
    assert len(names) == 60
    assert told["counts"]["failed"] == 0


def test_labels_and_times_travel_with_the_cases(tmp_path: Path) -> None:
    """Folders named by a pattern; the stamp of a log, else the file's own time."""
    cases = {case.name: case for case in triaged(lay_out(tmp_path / "fleet"), labels=Labels(("site", "host")))}
    named = cases["site-1/host-0/034-ceph-vm-dmesg-T-gfp-atomic.log"]
    assert named.labels == {"site": "site-1", "host": "host-0"}
    assert (named.seen, named.seen_by) == ("2020-04-11T17:52:58+00:00", "log")
    assert cases["site-1/leak"].labels == {"site": "site-1", "host": "leak"}
    assert (cases["site-1/leak"].seen, cases["site-1/leak"].seen_by) == ("2023-11-14T22:13:20+00:00", "file")
