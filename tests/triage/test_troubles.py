"""What goes wrong around a triage: moved files, full disks, odd names, odd times, other people's stores."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

import oomscope.io.input
from oomscope.errors import BadQuestion, NoAccess, NotOffered
from oomscope.io import object_store
from oomscope.model.triage import Case, CaseResult, CaseRow, Signature
from oomscope.triage import baseline, labels, places, steps
from oomscope.triage.cache import Cache, default_path
from oomscope.triage.grouping import Unit
from oomscope.triage.packing import packed
from oomscope.triage.processes import Processes
from oomscope.triage.signature import _cache_name
from oomscope.triage.timestamps import when
from oomscope.triage.worker import _kept, _with_a_later_answer, explained
from tests.support import captures, fleets
from tests.support.fleets import lay_out, log, triaged, write
from tests.triage.test_outputs import as_json, run, triage_of

OOMSCOPE = Path(sys.executable).parent / "oomscope"
RESULTS = [CaseResult(CaseRow(failure="any", exit_code=3))]
FAILED = packed(RESULTS)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose path is short: a socket's, which processes are started through, has 107 characters at most."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an empty bucket on loopback."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    told = {"ENDPOINT_URL": address, "ACCESS_KEY_ID": "any", "SECRET_ACCESS_KEY": "any", "DEFAULT_REGION": "eu-north-1"}
    for name, value in told.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    urllib.request.urlopen(urllib.request.Request(f"{address}/moto-api/reset", method="POST")).close()
    boto3.client("s3").create_bucket(Bucket="odd", CreateBucketConfiguration={"LocationConstraint": "eu-north-1"})
    yield "s3://odd"
    server.stop()


def test_a_store_cannot_name_files_outside_of_a_case(bucket: str, short_path: Path) -> None:
    """A key with `..` in it is told; nothing is written beside the temporary folder."""
    client = boto3.client("s3")
    client.put_object(Bucket="odd", Key="fleet/meminfo", Body=(captures.CASE_6_12 / "meminfo").read_bytes())
    client.put_object(Bucket="odd", Key="fleet/../../outside.txt", Body=b"written")
    script = (
        "import sys\nfrom pathlib import Path\nfrom tests.support.fleets import triaged\n"
        f"print([(c.name, c.result.row.failure) for c in triaged({bucket + '/fleet'!r})])\n"
        "from oomscope.triage import steps\nfrom tests.triage.test_troubles import Here\n"
        f"print(steps.find([{bucket + '/fleet'!r}], grouping='auto', engine=Here(), by_content=False).notes)\n"
    )
    work = short_path / "a" / "b"
    work.mkdir(parents=True)
    env = {**os.environ, "TMPDIR": str(work), "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr
    assert "leads out of its folder" in done.stdout
    assert not list(short_path.rglob("outside.txt"))


def test_a_case_keeps_no_text_of_its_own_place() -> None:
    """The place alone is taken out, where it stands as a path and nowhere else."""
    assert _kept("/a: empty", "/a") == "empty"
    assert _kept("the records of /a/kern.log: cut", "/a") == "the records of (case)/kern.log: cut"
    assert _kept("a driver took 1/a of it; /ab stays", "/a") == "a driver took 1/a of it; /ab stays"
    assert _kept("anything", "/") == "anything"


def test_what_changes_while_it_is_read_is_not_kept(tmp_path: Path) -> None:
    """A log that is renamed, or grows, between the look at it and its reading."""
    one, kept = tmp_path / "fleet" / "kern.log", tmp_path / "kept.sqlite"
    for change in (lambda: one.rename(one.with_name("gone.log")), lambda: one.write_bytes(log(fleets.REPORTS[1]))):
        write(one, log(fleets.REPORTS[0]))
        with Processes(1) as engine, Cache(kept) as results:
            found = steps.find([str(one)], grouping="auto", engine=engine, by_content=True)
            change()
            steps.explain_all(found.units, engine=engine, results=results)
        with Cache(kept) as results:
            assert results.take_over([steps.key(unit) for unit in found.units]) == set()
        one.unlink(missing_ok=True)


def test_files_that_are_known_by_their_folder_have_it_in_their_key(tmp_path: Path) -> None:
    """Two disks with equal counters stay two, alone and in folders."""
    text = b"  94208     1234    16384        0    98304      123        0        0        0\n"
    for disk in ("zram0", "zram7"):
        write(tmp_path / "fleet" / disk / "mm_stat", text)
    units = steps.find([str(tmp_path / "fleet")], grouping="auto", engine=Here(), by_content=True).units
    assert len({steps.key(unit) for unit in units}) == 2
    moved = tmp_path / "moved"
    (tmp_path / "fleet").rename(moved)
    again = steps.find([str(moved)], grouping="auto", engine=Here(), by_content=True).units
    assert {steps.key(unit) for unit in again} == {steps.key(unit) for unit in units}


class Here:
    """Work done in this very process."""

    def __enter__(self):  # type: ignore[no-untyped-def]
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def run(self, work, tasks, *, limit_s=None):  # type: ignore[no-untyped-def]  # noqa: ARG002 - an engine's
        """See Executor."""
        for task in tasks:
            yield task, work(task)


def test_a_case_is_counted_once_by_whatever_names(tmp_path: Path) -> None:
    """Another spelling, a link beside its target, a file of a folder that is a case itself."""
    fleet = lay_out(tmp_path / "fleet")
    once = {case.name for case in triaged(fleet)}
    (fleet / "site-1" / "current.log").symlink_to(next(fleet.rglob(fleets.REPORTS[0])))
    dump = fleet / "site-1" / "leak" / "page_owner.zst"
    cases = triaged(dump, fleet, f"{fleet}/../fleet")
    assert len(cases) == len(once)
    assert sum(case.result.row.culprit == "leak_mb_write" for case in cases) == 1


def test_names_are_unique_whatever_files_are_called(tmp_path: Path) -> None:
    """A log with several OOMs beside one that is called like one of them."""
    write(tmp_path / "fleet" / "kern.log", log("042-i386-mkfs-lowmem-wrapped-x2.log"))
    write(tmp_path / "fleet" / "kern.log#1", log(fleets.REPORTS[0]))
    names = [case.name for case in triaged(tmp_path / "fleet")]
    assert len(set(names)) == len(names) == 4


def test_a_folder_of_nothing_readable_is_a_case_that_failed(tmp_path: Path) -> None:
    """With its reason."""
    (tmp_path / "fleet" / "host").mkdir(parents=True)
    (tmp_path / "fleet" / "host" / "gone").symlink_to("nowhere")
    (case,) = triaged(tmp_path / "fleet", grouping="folder")
    assert case.result.row.failure is not None
    assert "nothing in it can be read: a link that leads nowhere" in case.result.row.failure


def test_times_beyond_the_calendar_are_none() -> None:
    """Of files and of logs."""
    assert when(None, None, 999_999_999_999.0) == (None, None)
    assert when(None, "0001-01-01T00:00:00+05:00", None) == (None, None)
    assert when(None, "9999-12-31T23:59:59-05:00", None) == (None, None)


def test_odd_questions_are_refused_in_a_sentence(tmp_path: Path) -> None:
    """Places, stores, labels and earlier triages that are none."""
    with pytest.raises(BadQuestion, match="empty path"):
        places.files("")
    with pytest.raises(NotOffered, match="nonsense://x"):
        places.files("nonsense://x")
    for place in ("zip:///nowhere/none.zip", "ftp://127.0.0.1:1/x", "github://x"):
        try:
            (file,) = places.files(place)
        except (NotOffered, BadQuestion):
            continue
        assert file.problem
    with pytest.raises(BadQuestion, match="a meaning of its own"):
        labels.labels("site/seen", None)
    write(tmp_path / "odd.json", b'{"schema": "oomscope-triage/1", "clusters": [{"id": "\xff", "signature": ""}]}')
    with pytest.raises(BadQuestion, match="not the JSON of a triage"):
        baseline.previous(str(tmp_path / "odd.json"))
    write(tmp_path / "deep.json", b'{"clusters": ' + b"[" * 100_000)
    with pytest.raises(BadQuestion, match="not the JSON of a triage"):
        baseline.previous(str(tmp_path / "deep.json"))
    lay_out(tmp_path / "fleet")
    assert "--parquet nonsense://x" in run(tmp_path, "fleet", "--parquet", "nonsense://x", expected=4).stderr


def test_nothing_from_outside_commands_a_terminal(tmp_path: Path) -> None:
    """Values of a sidecar and of an earlier triage, and names that are no UTF-8."""
    name = os.fsencode(tmp_path) + b"/fleet/h\xff\xc2\x9b\x1b[31m/kern.log"
    os.makedirs(os.path.dirname(name))
    with open(name, "wb") as file:
        file.write(log(fleets.REPORTS[0]))
    sidecar = [{"case": "h\\xff\\x9b\\x1b[31m", "host": "\x1b[31mred\ud800"}]
    (tmp_path / "cases.json").write_text(json.dumps(sidecar))
    gone = [{"id": "x", "signature": "\x1b]0;gone\x07"}]
    before = {"schema": "oomscope-triage/1", "clusters": gone, "made": "\x1b[31mearlier"}
    (tmp_path / "before.json").write_text(json.dumps(before))
    words = ("fleet", "--sidecar", "cases.json", "--since", "before.json", "--parquet", "tables")
    text = run(tmp_path, *words).stdout
    assert "\x1b" not in text
    assert "\x07" not in text
    told = as_json(tmp_path, *words)
    (tmp_path / "told.json").write_text(json.dumps(told))
    assert "\x9b" not in json.dumps(told, ensure_ascii=False)
    run(tmp_path, "fleet", "--since", "told.json")


def test_results_outlive_a_kill(tmp_path: Path) -> None:
    """What was finished when the command was killed is not done again."""
    for number in range(40):
        write(tmp_path / "fleet" / f"{number:02}.log", log(fleets.REPORTS[number % 4]) + b"\n%d\n" % number)
    env = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    command = [str(OOMSCOPE), "triage", "fleet", "--workers", "1"]
    with subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL) as process:
        while finished(tmp_path / "cache" / "oomscope" / "fleet.sqlite") < 5:
            time.sleep(0.02)
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = run(tmp_path, "fleet")
    (count,) = (int(word) for word in done.stderr.split() if word.isdigit())
    assert 5 <= count < 40


def finished(path: Path) -> int:
    if not path.exists():
        return 0
    with sqlite3.connect(path, timeout=10) as base:
        try:
            return int(base.execute("SELECT count(*) FROM results").fetchone()[0])
        except sqlite3.OperationalError:
            return 0


def test_another_version_beside_takes_nothing_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It empties what is kept; a triage that runs meanwhile has its own."""
    kept = tmp_path / "kept.sqlite"
    with Cache(kept) as results:
        results.put("one", FAILED, lasting=True)
    with Cache(kept) as results:
        assert results.take_over(["one", "two"]) == {"one"}
        monkeypatch.setattr("oomscope.triage.cache.version", lambda: "another")
        with Cache(kept) as others:
            assert others.take_over(["one"]) == set()
        assert results.get("one") == RESULTS


def test_what_is_kept_may_be_damaged(tmp_path: Path) -> None:
    """Entries of no known form, and pages that are no database: told, and the triage goes on."""
    kept = tmp_path / "kept.sqlite"
    with Cache(kept) as results:
        results.put("one", FAILED, lasting=True)
    with sqlite3.connect(kept) as base:
        base.execute("UPDATE results SET results = x'00'")
    with Cache(kept) as results:
        assert results.take_over(["one"]) == set()
        assert results.trouble is not None
        results.put("one", FAILED, lasting=True)
        assert results.get("one") == RESULTS


def test_an_open_triage_does_not_lock_another_out(tmp_path: Path) -> None:
    """Each case is written by itself."""
    kept = tmp_path / "kept.sqlite"
    with Cache(kept) as one, Cache(kept) as other:
        one.put("one", FAILED, lasting=True)
        other.put("two", FAILED, lasting=True)
        assert (one.trouble, other.trouble) == (None, None)
    with Cache(kept) as results:
        assert results.take_over(["one", "two"]) == {"one", "two"}


def test_a_user_without_a_home_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing else is missing."""
    from oomscope.triage.cache import default_path

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert default_path() is None


def no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


def test_fewer_processes_than_asked_for_do_the_work(tmp_path: Path) -> None:
    """Where this machine does not let the command start as many."""
    lay_out(tmp_path / "fleet")
    done = run(tmp_path, "fleet", "--workers", "60", preexec_fn=few_files)
    assert "explained by the report alone" in " ".join(done.stdout.split())


def few_files() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


def test_caches_that_are_drawn_at_boot_are_one() -> None:
    """CONFIG_RANDOM_KMALLOC_CACHES, and the cgroup of a cache."""
    assert _cache_name("kmalloc-rnd-05-2k") == _cache_name("kmalloc-rnd-12-2k") == "kmalloc-2k"
    assert _cache_name("dentry(123:session-1.scope)") == "dentry"


def test_accounts_explain_what_they_account_for(tmp_path: Path) -> None:
    """A list of modules beside hidden memory names nobody; a list of call sites that holds it does."""
    report = log("086-nfsd-page-leak-88pct.log")
    modules = b"virtio_net 16384 0 - Live 0x0000000000000000\nnfsd 12288 1 - Live 0x0000000000000000\n"
    sites = b"allocinfo - version: 1.0\n#     <size>  <calls> <tag info>\n  %d 9 fs/nfsd/x.c:12 [nfsd] func:nfsd_take\n"
    write(tmp_path / "fleet" / "modules-beside" / "kern.log", report)
    write(tmp_path / "fleet" / "modules-beside" / "modules", modules)
    write(tmp_path / "fleet" / "sites-beside" / "kern.log", report)
    write(tmp_path / "fleet" / "sites-beside" / "allocinfo", sites % (900 << 20))
    answered: dict[str, set[str | None]] = {}
    for case in triaged(tmp_path / "fleet", grouping="folder"):
        if case.result.row.oom_class == "hidden-kernel":
            answered.setdefault(case.name.partition("#")[0], set()).add(case.result.row.answered_by)
    assert answered == {"modules-beside": {"lacking"}, "sites-beside": {"report"}}


def test_too_many_ooms_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log keeps its last events: how many came before stands as a case that failed, and in what `explain` says."""
    monkeypatch.setattr("oomscope.bounds.EVENTS", 2)
    path = tmp_path / "kern.log"
    write(path, log("042-i386-mkfs-lowmem-wrapped-x2.log") * 2)
    from oomscope.triage.worker import explained

    unit = steps.find([str(path)], grouping="auto", engine=Here(), by_content=False).units[0]
    *others, last = explained(unit).results
    assert len(others) == 2
    assert last.row.failure == "4 earlier OOMs of this log: the last 2 are explained"
    import oomscope

    assert any("4 earlier OOMs" in absent.what for absent in oomscope.explain(path).absent)


def test_a_link_to_a_case_takes_nothing_from_it(tmp_path: Path) -> None:
    """`current -> host-1` is told as a link, and host-1 is explained."""
    host = tmp_path / "fleet" / "host-1"
    write(host / "kern.log", log(fleets.REPORTS[0]))
    write(host / "meminfo", (captures.CASE_6_12 / "meminfo").read_bytes())
    (tmp_path / "fleet" / "current").symlink_to(host)
    cases = {case.name: case.result.row.failure for case in triaged(tmp_path / "fleet")}
    assert cases == {"current": "a link to a folder: it is not followed", "host-1": None}


def test_of_several_names_the_own_stays(tmp_path: Path) -> None:
    """A link that sorts first gives way to the file; of two hard links one is a case; a case within a case is its."""
    write(tmp_path / "fleet" / "z" / "kern.log", log(fleets.REPORTS[0]))
    (tmp_path / "fleet" / "a").mkdir()
    (tmp_path / "fleet" / "a" / "latest.log").symlink_to(tmp_path / "fleet" / "z" / "kern.log")
    assert [case.name for case in triaged(tmp_path / "fleet")] == ["z/kern.log"]
    os.link(tmp_path / "fleet" / "z" / "kern.log", tmp_path / "fleet" / "z" / "same.log")
    assert len(triaged(tmp_path / "fleet")) == 1
    host = tmp_path / "other" / "host"
    write(host / "meminfo", (captures.CASE_6_12 / "meminfo").read_bytes())
    write(host / "log" / "kern.log", log(fleets.REPORTS[0]))
    (case,) = triaged(tmp_path / "other", host / "log")
    assert case.name.endswith("other/host")


def test_failures_are_tried_again(tmp_path: Path) -> None:
    """A log that was empty when it was read says nothing of the content that was looked at before."""
    path, kept = tmp_path / "kern.log", tmp_path / "kept.sqlite"
    write(path, log(fleets.REPORTS[0]))
    with Processes(1) as engine, Cache(kept) as results:
        found = steps.find([str(path)], grouping="auto", engine=engine, by_content=True)
        path.write_bytes(b"")
        steps.explain_all(found.units, engine=engine, results=results)
    write(path, log(fleets.REPORTS[0]))
    assert [case.result.row.failure for case in triaged(path, results=kept)] == [None]


def test_another_folders_tables_are_left_alone(tmp_path: Path) -> None:
    """A name that would be a pattern is a name."""
    lay_out(tmp_path / "fleet")
    write(tmp_path / "tab1" / "cases" / "part-00000.parquet", b"mine")
    write(tmp_path / "tab[1]" / "cases" / "part-00001.parquet", b"old")
    run(tmp_path, "fleet", "--parquet", "tab[1]")
    assert (tmp_path / "tab1" / "cases" / "part-00000.parquet").read_bytes() == b"mine"
    assert [path.name for path in (tmp_path / "tab[1]" / "cases").iterdir()] == ["part-00000.parquet"]
    assert "empty path" in run(tmp_path, "fleet", "--parquet", "", expected=2).stderr


def test_how_many_values_there_are_is_told(tmp_path: Path) -> None:
    """Of twenty-five hosts three are named and 22 counted, ten stand in the JSON."""
    for number in range(25):
        write(tmp_path / "fleet" / f"host-{number}" / "kern.log", log(fleets.REPORTS[0]))
    text = " ".join(run(tmp_path, "fleet", "--labels", "host").stdout.split())
    assert "host: host-0, host-1, host-10 and 22 more" in text
    (cluster,) = as_json(tmp_path, "fleet", "--labels", "host")["clusters"]
    assert (len(cluster["labels"]["host"]), cluster["distinct_labels"]["host"]) == (10, 25)


def test_rows_of_a_sidecar_that_are_of_no_case_are_told(tmp_path: Path) -> None:
    """By the names that cases really have; a row for one OOM of several is of that one."""
    write(tmp_path / "fleet" / "kern.log", log("042-i386-mkfs-lowmem-wrapped-x2.log"))
    (tmp_path / "cases.csv").write_text("case,owner\nkern.log#2,me\nkern.log#5,nobody\n")
    told = as_json(tmp_path, "fleet", "--sidecar", "cases.csv")
    assert [case["labels"] for case in told["cases"]] == [{}, {"owner": "me"}, {}]
    assert told["notes"] == ["of no case here: 1 row of the sidecar, the first 'kern.log#5'"]


def test_what_would_fail_at_the_end_fails_at_the_beginning(tmp_path: Path) -> None:
    """A place for the answer that is none."""
    lay_out(tmp_path / "fleet")
    done = run(tmp_path, "fleet", "-o", "nowhere/told.json", expected=5)
    assert done.stderr == "oomscope: nowhere/told.json: no such file or directory\n"
    run(tmp_path, "missing", "-o", "told.json", expected=2)
    assert not (tmp_path / "told.json").exists()


def test_what_lies_above_two_machines_makes_no_case_of_them(tmp_path: Path) -> None:
    """A stray file that needs company, over folders with logs of their own."""
    fleet = tmp_path / "fleet"
    meminfo = (captures.CASE_6_12 / "meminfo").read_bytes()
    for number in (0, 1):
        write(fleet / f"host-{number}" / "log" / "kern.log", log(fleets.REPORTS[number]))
        write(fleet / f"host-{number}" / "log" / "old" / "kern.log.1", log(fleets.REPORTS[number + 2]))
        write(fleet / f"host-{number}" / "meminfo", meminfo)
    write(fleet / "meminfo", meminfo)
    cases = {case.name for case in triaged(fleet)}
    assert {name.partition("#")[0] for name in cases} == {"host-0", "host-1", "meminfo"}


def test_page_owner_data_above_logs_are_of_one_machine(tmp_path: Path) -> None:
    """Its logs in two folders are its own; that they were taken so is said."""
    case = tmp_path / "fleet" / "case"
    write(case / "page_owner.zst", captures.AFTER_6_12.read_bytes())
    write(case / "log" / "kern.log", log(fleets.REPORTS[0]))
    write(case / "pstore" / "dmesg-1", log(fleets.REPORTS[3]))
    told = as_json(tmp_path, "fleet")
    assert {case["case"].partition("#")[0] for case in told["cases"]} == {"case"}
    assert any("the logs of 2 folders in case were taken for one machine's" in note for note in told["notes"])


def test_labelled_folders_are_not_put_together(tmp_path: Path) -> None:
    """What lies above hosts, by the labels; a case that lies less deep, and what each folder was said to be, stay."""
    fleet = tmp_path / "fleet"
    meminfo = (captures.CASE_6_12 / "meminfo").read_bytes()
    write(fleet / "meminfo", meminfo)
    write(fleet / "host-0" / "kern.log", log(fleets.REPORTS[0]))
    write(fleet / "host-1" / "meminfo", meminfo)
    assert {case.name for case in triaged(fleet)} == {"fleet"}
    by_host = triaged(fleet, labels=labels.labels("host", None))
    assert {case.name: case.labels for case in by_host} == {
        "host-0/kern.log": {"host": "host-0"},
        "host-1": {"host": "host-1"},
        "meminfo": {},
    }
    (fleet / "meminfo").unlink()
    write(fleet / "host-1" / "kern.log", log(fleets.REPORTS[1]))
    by_site = triaged(fleet, labels=labels.labels("site/host", None))
    assert {case.name for case in by_site} == {"host-0/kern.log", "host-1"}
    each = triaged(fleet, grouping="folder", labels=labels.labels("site/host", None))
    assert {case.name for case in each} == {"host-0", "host-1"}


def test_an_earlier_oom_of_a_case_with_stacks_does_not_lack_them() -> None:
    """Kills just before a panic whose stacks name the leak: page owner data are there, and where is said."""
    rows = [case.result.row for case in triaged(captures.LINUX_6_1)]
    assert [row.answered_by for row in rows] == ["stacks"] * len(rows)
    assert len(rows) > 1
    assert all("leak_pages_show [leak]" in (row.next or "") for row in rows[:-1] if row.culprit is None)


def test_the_answer_of_another_boot_or_kind_is_nobodys() -> None:
    """Only a later OOM of the same class, kernel and boot lends its page owner data."""
    lacking = CaseRow(oom_class="hidden-kernel", kernel_release="6.1", at_ns=5, answered_by="lacking")
    answer = CaseRow(oom_class="hidden-kernel", kernel_release="6.1", at_ns=6, answered_by="stacks", culprit="leak")
    others = (
        dataclasses.replace(answer, oom_class="slab"),
        dataclasses.replace(answer, kernel_release="6.2"),
        dataclasses.replace(answer, at_ns=4),
        dataclasses.replace(answer, at_ns=None),
        dataclasses.replace(answer, culprit=None),
    )
    for other in others:
        rows = [each.row for each in _with_a_later_answer([CaseResult(lacking), CaseResult(other)])]
        assert rows == [lacking, other]
    assert [each.row for each in _with_a_later_answer([CaseResult(answer), CaseResult(lacking)])] == [answer, lacking]
    first, _ = _with_a_later_answer([CaseResult(lacking), CaseResult(answer)])
    assert (first.row.answered_by, first.row.next) == (
        "stacks",
        "page owner data of a later OOM of this boot name leak: explain that one",
    )


def test_a_file_of_a_case_that_took_no_part_is_told(tmp_path: Path) -> None:
    """In its row and in a note, the first ten; what another day may read makes a result that is not kept."""
    host = tmp_path / "fleet" / "host"
    write(host / "kern.log", log(fleets.REPORTS[0]))
    write(host / "meminfo", (captures.CASE_6_12 / "meminfo").read_bytes())
    for number in range(12):
        write(host / f"notes-{number:02}", b"anything")
    told = as_json(tmp_path, "fleet")
    unused = told["cases"][0]["unused"]
    assert unused[0] == "(case)/notes-00: text, but of no kind that is known here"
    assert (len(unused), unused[-1]) == (11, "and 2 more")
    assert any("1 case with files that took no part" in note for note in told["notes"])
    assert "was explained before" in run(tmp_path, "fleet").stderr
    write(host / "page_owner", b"")
    (host / "page_owner").chmod(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("oomscope.io.input.Input.open", refusing(oomscope.io.input.Input.open, "page_owner"))
        result = explained(
            Unit(
                "host",
                "host",
                ((str(host / "kern.log"), "kern.log"), (str(host / "page_owner"), "page_owner")),
                None,
                "any",
            )
        )
    assert not result.is_lasting
    assert any(each.startswith("(case)/page_owner: permission denied") for each in result.results[0].row.unused)


def refusing(opened: Any, name: str) -> Any:
    """As if this file were another's: root is refused nothing."""

    def open_(this: Any) -> Any:
        if this.path is not None and this.path.name == name:
            raise NoAccess(f"{this.origin}: permission denied")
        return opened(this)

    return open_


@pytest.mark.slow
def test_the_triages_own_output_is_no_case(tmp_path: Path) -> None:
    """JSON, page and tables below the place of the next triage: left out, and said."""
    write(tmp_path / "fleet" / "kern.log", log(fleets.REPORTS[0]))
    run(tmp_path, "fleet", "--format", "json", "-o", "fleet/today.json", "--parquet", "fleet/tables")
    run(tmp_path, "fleet", "--format", "html", "-o", "fleet/today.html")
    told = as_json(tmp_path, "fleet")
    assert [case["case"] for case in told["cases"]] == ["kern.log"]
    assert "5 files of oomscope's own output: left out" in told["notes"]
    (tmp_path / "fleet" / "kern.log").unlink()
    assert "5 files of oomscope's own output" in run(tmp_path, "fleet", expected=1).stderr


def test_one_file_by_two_kinds_of_name_is_one_case(tmp_path: Path) -> None:
    """A path and a file:// URL; a dangling link that two places reach."""
    write(tmp_path / "fleet" / "a b.log", log(fleets.REPORTS[0]))
    assert len(triaged(f"file://{tmp_path}/fleet/a%20b.log", tmp_path / "fleet")) == 1
    (tmp_path / "fleet" / "gone.log").symlink_to(tmp_path / "nowhere")
    cases = triaged(tmp_path, tmp_path / "fleet")
    assert sum(case.result.row.failure is not None for case in cases) == 1


def test_names_with_colons_are_no_chains() -> None:
    """`a::b.log` in a store is a name; `simplecache::s3://...` is fsspec's chain of places."""
    system, path = object_store.store("s3://fleet/a::b.log")
    assert (type(system).__name__, path) == ("S3FileSystem", "fleet/a::b.log")
    system, _ = object_store.store("simplecache::memory://fleet/a.log")
    assert type(system).__name__ == "SimpleCacheFileSystem"


def test_a_file_within_an_archive_is_a_place(tmp_path: Path) -> None:
    """Fsspec's chain of places, with the archive named as a path."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("kern.log", log(fleets.REPORTS[0]))
    (case,) = triaged(f"zip://kern.log::{tmp_path}/a.zip")
    assert case.result.row.failure is None


def test_an_archive_of_many_machines_names_whose_log_it_was(tmp_path: Path) -> None:
    """Each OOM of it has the member that tells of it; a log by itself has none."""
    folder = tmp_path / "fleet"
    folder.mkdir()
    with zipfile.ZipFile(folder / "many.zip", "w") as archive:
        for number, report in enumerate(fleets.REPORTS[:2]):
            archive.writestr(f"host-{number}/kern.log", log(report))
    write(folder / "alone.log", log(fleets.REPORTS[0]))
    found = {case.name.partition("#")[0]: set[str | None]() for case in triaged(folder)}
    for case in triaged(folder):
        found[case.name.partition("#")[0]].add(case.result.row.member)
    assert found == {"alone.log": {None}, "many.zip": {"host-0/kern.log", "host-1/kern.log"}}


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("fleet/", "fleet"),
        ("./fleet/../fleet", "fleet"),
        ("/srv/oom", "srv/oom"),
        (".cases/x", ".cases/x"),
        ("s3://a/b", "s3://a/b"),
    ],
)
def test_a_place_begins_the_names_of_its_cases(place: str, name: str) -> None:
    """As it was given, without detours."""
    assert places.named(place) == name


def test_a_place_above_is_named_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`..` and `.` are no names of a site."""
    monkeypatch.chdir(tmp_path)
    assert places.named("..") == str(tmp_path.parent).lstrip("/")
    assert places.named(".") == str(tmp_path).lstrip("/")


def test_a_link_has_the_time_of_what_it_leads_to(tmp_path: Path) -> None:
    """A folder of links to logs: the year of a syslog stamp comes from the log's own time."""
    write(tmp_path / "logs" / "kern.log", b"")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "kern.log").symlink_to(tmp_path / "logs" / "kern.log")
    (file,) = places.files(str(tmp_path / "links"))
    assert file.modified_s == fleets.WRITTEN


def test_a_time_at_the_end_of_the_calendar_ends_nothing() -> None:
    """A file of the year 9999 tells no year for a stamp without one."""
    assert when(None, "Mar  3 10:11:12", 253402214400.0) == ("9999-12-31T00:00:00+00:00", "file")


def test_a_label_called_kernels_is_a_label() -> None:
    """How many kernels there are is told beside the labels, whatever those are called."""
    row = CaseRow(signature=Signature("slab", "", "", ""), answered_by="report", kernel_release="6.1")
    cases = [Case(f"c{i}", "", "", "", {"kernels": str(i)}, None, None, CaseResult(row)) for i in range(3)]
    (cluster,) = triage_of(cases).clusters
    assert (cluster.distinct_kernels, cluster.distinct_labels) == (1, {"kernels": 3})


def test_a_sidecars_row_of_a_name_with_a_number_sign_is_used() -> None:
    """`host#1/kern.log` is a name; `host#1/kern.log#2` its second OOM."""
    rows = {"host#1/kern.log": {"rack": "r7"}}
    assert labels.Labels((), rows).notes(["host#1/kern.log#1", "host#1/kern.log#2"]) == []
    assert labels.Labels((), rows).notes(["host#1/kern.log"]) == []
    assert labels.Labels((), rows).notes(["host"]) != []


def test_a_relative_cache_folder_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """The XDG base directories say so."""
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/x")
    assert default_path() == Path.home() / ".cache" / "oomscope" / "fleet.sqlite"


@pytest.mark.parametrize(
    ("old", "name"),
    [("kmalloc-2048", "kmalloc-2k"), ("kmalloc-rnd-07-2k", "kmalloc-2k"), ("kmalloc-cg-4194304", "kmalloc-cg-4M"),
     ("kmalloc-96", "kmalloc-96"), ("kmalloc-192(7:init)", "kmalloc-192"), ("bio-1024", "bio-1024")],
)  # fmt: skip
def test_caches_of_kmalloc_have_one_name_over_the_versions(old: str, name: str) -> None:
    """By bytes up to 4.19, by units since."""
    assert _cache_name(old) == name


def test_a_terminated_triage_leaves_nothing(short_path: Path) -> None:
    """SIGTERM, as a service manager sends it: exit code 143, no temporary files."""
    for number in range(40):
        write(short_path / "fleet" / f"{number}.log", log(fleets.REPORTS[number % 10]) + b"\n" * number)
    (short_path / "tmp").mkdir()
    env = {**os.environ, "TMPDIR": str(short_path / "tmp"), "XDG_CACHE_HOME": str(short_path / "cache")}
    with subprocess.Popen([OOMSCOPE, "triage", short_path / "fleet"], env=env, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 3
        while not list((short_path / "tmp").iterdir()) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.terminate()
        assert process.wait(30) == 143
    assert list((short_path / "tmp").iterdir()) == []
