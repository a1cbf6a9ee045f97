"""Text, JSON, page and tables of one triage say the same."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import resource
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import fsspec
import jsonschema
import pyarrow.parquet
import pytest
import zstandard

import oomscope
from oomscope.export.triage_tables import TriageTables
from oomscope.model.triage import Case, CaseResult, CaseRow, Signature, Triage
from oomscope.report import triage_json, triage_text
from oomscope.report.triage_answer import sentence
from oomscope.triage import clusters
from tests.support import fleets
from tests.support.fleets import lay_out, log, triaged, write

OOMSCOPE = Path(sys.executable).parent / "oomscope"
SCHEMA = Path(oomscope.__file__).parent / "report" / "oomscope-triage-1.schema.json"
GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "triage.md"
QUERIES = re.findall(r"```sql\n(.*?)```", GUIDE.read_text(), re.DOTALL)


def run(folder: Path, *words: str, expected: int = 0, **more: Any) -> subprocess.CompletedProcess[str]:
    """The command in a folder of its own, which has its cache, too."""
    done = subprocess.run(
        [str(OOMSCOPE), "triage", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={
            "XDG_CACHE_HOME": str(folder / "cache"),
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            "COLUMNS": "80",
        },
        **more,
    )
    assert done.returncode == expected, done.stderr
    return done


def as_json(folder: Path, *words: str) -> dict[str, Any]:
    """What the command says as JSON, which its schema allows."""
    told = json.loads(run(folder, *words, "--format", "json").stdout)
    jsonschema.validate(told, json.loads(SCHEMA.read_text()))
    return dict(told)


def spoilt_fleet(folder: Path) -> Path:
    """A fleet with a case that fails."""
    lay_out(folder)
    write(folder / "empty.log", b"")
    return folder


def triage_of(cases: list[Case], **more: Any) -> Triage:
    return clusters.triage_of(cases, **more)


def test_json_has_every_case_with_its_cluster(tmp_path: Path) -> None:
    """`cases` is a list; counts, classes and clusters are those of its entries."""
    spoilt_fleet(tmp_path / "fleet")
    told = as_json(tmp_path, "fleet", "--labels", "site/host")
    cases = told["cases"]
    assert told["counts"]["cases"] == len(cases)
    assert told["counts"]["failed"] == sum(case["failure"] is not None for case in cases) == 1
    by_cluster = Counter(case["cluster"] for case in cases if case["failure"] is None)
    assert {cluster["id"]: cluster["cases"] for cluster in told["clusters"]} == by_cluster
    by_class = Counter(case["class"] or "failed" for case in cases)
    assert {row["class"]: row["cases"] for row in told["classes"]} == by_class
    names = {case["case"] for case in cases}
    assert {cluster["example"] for cluster in told["clusters"]} <= names
    assert all(case["labels"].keys() <= {"site", "host"} for case in cases)
    ranks = [cluster["cases"] for cluster in told["clusters"]]
    assert ranks == sorted(ranks, reverse=True)


def test_the_tables_are_the_json(tmp_path: Path) -> None:
    """Row for row and field for field: cases, consumers, findings."""
    spoilt_fleet(tmp_path / "fleet")
    told = as_json(tmp_path, "fleet", "--labels", "site/host", "--parquet", "tables")
    tables = {
        name: pyarrow.parquet.read_table(tmp_path / "tables" / name).to_pylist()
        for name in ("cases", "consumers", "findings")
    }
    signatures = {cluster["id"]: cluster["signature"] for cluster in told["clusters"]}
    for row, case in zip(tables["cases"], told["cases"], strict=True):
        labels = {name: row.pop(f"label_{name}") for name in ("site", "host")}
        assert {name: value for name, value in labels.items() if value is not None} == case["labels"]
        assert row.pop("signature") == signatures.get(case["cluster"])
        assert row == {name: value for name, value in case.items() if name not in ("labels", "consumers", "findings")}
    for name in ("consumers", "findings"):
        expected = [{"case": case["case"], **row} for case in told["cases"] for row in case[name]]
        assert tables[name] == expected


def test_every_query_of_the_guide_runs(tmp_path: Path) -> None:
    """Over a fleet that has an answer to each: five queries, none of them empty."""
    assert len(QUERIES) == 5
    spoilt_fleet(tmp_path / "fleet")
    run(tmp_path, "fleet", "--parquet", "tables")
    for query in QUERIES:
        rows = duckdb.connect().execute(query.replace("'tables/", f"'{tmp_path}/tables/")).fetchall()
        assert rows
        if "sum(pages)" in query:
            assert rows[0][0] == "leak"


def test_tables_of_an_earlier_triage_are_replaced(tmp_path: Path) -> None:
    """And nothing else in the folder is touched."""
    fleet = spoilt_fleet(tmp_path / "fleet")
    write(tmp_path / "tables" / "cases" / "notes.txt", b"mine")
    write(tmp_path / "tables" / "cases" / "part-00007.parquet", b"old")
    run(tmp_path, "fleet", "--parquet", "tables")
    (fleet / "empty.log").unlink()
    told = as_json(tmp_path, "fleet", "--parquet", "tables")
    assert (tmp_path / "tables" / "cases" / "notes.txt").read_bytes() == b"mine"
    assert len(pyarrow.parquet.read_table(tmp_path / "tables" / "cases" / "part-00000.parquet")) == len(told["cases"])
    assert not (tmp_path / "tables" / "cases" / "part-00007.parquet").exists()


def test_many_cases_make_several_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts together are all cases, in their order."""
    from oomscope.export import triage_tables

    monkeypatch.setattr(triage_tables, "CASES_IN_PART", 4)
    cases = triaged(spoilt_fleet(tmp_path / "fleet"))
    with triage_tables.TriageTables(str(tmp_path / "tables"), ()) as tables:
        for case in cases:
            tables.add(case)
    parts = sorted((tmp_path / "tables" / "cases").iterdir())
    assert len(parts) == -(-len(cases) // 4)
    names = [row["case"] for part in parts for row in pyarrow.parquet.read_table(part).to_pylist()]
    assert names == [case.name for case in cases]


def test_the_text_begins_with_the_sentence(tmp_path: Path) -> None:
    """Then classes, clusters, failures; 80 columns, no colour where nobody asks for it."""
    spoilt_fleet(tmp_path / "fleet")
    done = run(tmp_path, "fleet")
    cases = triaged(tmp_path / "fleet")
    flat = " ".join(done.stdout.split())
    assert flat.startswith(sentence(triage_of(cases)))
    assert f"Not explained: 1 of {len(cases)}; each stands in the result with its reason" in flat
    assert "empty" in done.stdout
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_what_is_new_since_an_earlier_triage(tmp_path: Path) -> None:
    """Clusters that it did not have are new, those that have no case any more are gone."""
    fleet = lay_out(tmp_path / "fleet")
    gone = next(fleet.rglob(fleets.REPORTS[3]))
    new = "109-apparmor-order10.log"
    (tmp_path / "before.json").write_text(run(tmp_path, "fleet", "--format", "json").stdout)
    gone.unlink()
    write(fleet / new, log(new))
    told = as_json(tmp_path, "fleet", "--since", "before.json")
    (fresh,) = (cluster for cluster in told["clusters"] if cluster["is_new"])
    assert fresh["example"] == new
    assert told["gone"] == ["atomic-reserve | order-0 GFP_ATOMIC by page_to_skb [virtio_net]"]
    assert told["since"] is not None
    text = run(tmp_path, "fleet", "--since", "before.json").stdout
    assert "NEW" in text
    assert "gone: atomic-reserve" in text


def test_an_earlier_triage_of_other_signatures_is_not_compared(tmp_path: Path) -> None:
    """Where causes were named in another way, that is said, and nothing is called new."""
    lay_out(tmp_path / "fleet")
    before = as_json(tmp_path, "fleet")
    del before["signature_version"]  # as the first triages wrote it
    (tmp_path / "before.json").write_text(json.dumps(before))
    told = as_json(tmp_path, "fleet", "--since", "before.json")
    assert {cluster["is_new"] for cluster in told["clusters"]} == {None}
    assert told["since"] is None
    (note,) = told["notes"]
    assert note.startswith(f"not compared with the triage of {before['made']}: its signatures are of version 1")
    assert "not compared" in run(tmp_path, "fleet", "--since", "before.json").stdout


def test_clusters_are_ranked_by_cases_or_by_pages(tmp_path: Path) -> None:
    """Each order is that of its own number; a cluster whose cases tell no pages has none, not 0."""
    lay_out(tmp_path / "fleet")
    by_cases, by_pages = (as_json(tmp_path, "fleet", "--sort", sort)["clusters"] for sort in ("cases", "pages"))
    pages = [cluster["pages"] or 0 for cluster in by_pages]
    assert pages == sorted(pages, reverse=True)
    assert [cluster["id"] for cluster in by_pages] != [cluster["id"] for cluster in by_cases]
    (unknown,) = (cluster for cluster in by_cases if cluster["class"] == "vmalloc-space")
    assert (unknown["pages"], unknown["most_pages"]) == (None, None)


_KILL = b"""\
[%(at)d.000001] make invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0
[%(at)d.000002] memory: usage 481280kB, limit 481280kB, failcnt %(at)d
[%(at)d.000003] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/build,\
task_memcg=/build,task=make,pid=%(pid)d,uid=0
[%(at)d.000004] Memory cgroup out of memory: Killed process %(pid)d (make) total-vm:63292kB, anon-rss:21852kB, \
file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:148kB oom_score_adj:0
"""


def test_many_ooms_of_one_log_are_told_from_many_logs(tmp_path: Path) -> None:
    """27 kills of one log are an incident; the inputs of a cluster say so."""
    kills = b"".join(_KILL % {b"at": 100 + 20 * n, b"pid": 5000 + n} for n in range(27))
    write(tmp_path / "fleet" / "a.log", kills)
    write(tmp_path / "fleet" / "b.log", kills + b"\n")
    (cluster,) = as_json(tmp_path, "fleet")["clusters"]
    assert (cluster["cases"], cluster["inputs"]) == (54, 2)
    assert "54 cases of 2 inputs" in run(tmp_path, "fleet").stdout


def test_the_clearest_case_is_the_example() -> None:
    """Sure before unsure, named before unnamed, whole before partial, large before small."""
    signature = Signature("slab", "dentry", "", "")
    rows = [
        CaseRow(signature=signature, answered_by=by, certainty=sure, partial=partial, share_of_ram=share, pages=1)
        for sure, by, partial, share in (
            ("possible", "stacks", False, 0.9),
            ("certain", "report", False, 0.9),
            ("certain", "stacks", True, 0.9),
            ("certain", "stacks", False, 0.2),
            ("certain", "stacks", False, 0.3),
            ("certain", "stacks", False, 0.1),
        )
    ]
    cases = [Case(f"case-{i}", "", "", "", {}, None, None, CaseResult(row)) for i, row in enumerate(rows)]
    (cluster,) = triage_of(cases).clusters
    assert cluster.example == "case-4"
    (cluster,) = triage_of(cases[:2]).clusters
    assert cluster.example == "case-1"


def test_an_earlier_triage_that_is_none_is_refused(tmp_path: Path) -> None:
    """In one sentence, before anything is read."""
    lay_out(tmp_path / "fleet")
    write(tmp_path / "other.json", b'{"schema": "oomscope/1"}')
    assert "not the JSON of a triage" in run(tmp_path, "fleet", "--since", "other.json", expected=2).stderr
    write(tmp_path / "later.json", b'{"schema": "oomscope-triage/9", "clusters": []}')
    assert "schema oomscope-triage/9" in run(tmp_path, "fleet", "--since", "later.json", expected=2).stderr
    assert "no such file" in run(tmp_path, "fleet", "--since", "nowhere.json", expected=2).stderr


def test_the_page_links_each_cluster_to_its_cases(tmp_path: Path) -> None:
    """Every case that did not fail stands in its cluster, with a link to its file; nothing is fetched."""
    spoilt_fleet(tmp_path / "fleet")
    told = as_json(tmp_path, "fleet")
    run(tmp_path, "fleet", "--format", "html", "-o", "fleet.html")
    page = (tmp_path / "fleet.html").read_text()
    for cluster in told["clusters"]:
        article = page.partition(f'id="cluster-{cluster["id"]}"')[2].partition("</article>")[0]
        cases = [case for case in told["cases"] if case["cluster"] == cluster["id"]]
        # Many kills in one log are one row, which says how many.
        counts = Counter(case["path"] for case in cases)
        assert article.count("<li id=") == len(counts)
        assert all(f"<b>{count} times</b>" in article for count in counts.values() if count > 1)
        assert "when is not known" in article or any(case["seen_by"] != "file" for case in cases)
        for case in cases:
            assert f'href="file://{case["path"]}"' in article
        anchor = re.search(r'clearest: <a href="#(case-\d+)">', article)
        assert anchor is not None
        assert f'id="{anchor[1]}"' in article
    assert "empty.log" in page
    assert "http://" not in page.partition("<script")[0]


def test_names_from_outside_stay_text(tmp_path: Path) -> None:
    """A folder, a label and a host that look like markup or commands for a terminal."""
    evil = "<img src=x onerror=alert(1)>\x1b[31m"
    write(tmp_path / "fleet" / evil / "kern.log", log(fleets.REPORTS[0]))
    run(tmp_path, "fleet", "--labels", "host", "--format", "html", "-o", "fleet.html")
    page = (tmp_path / "fleet.html").read_text()
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page
    assert "\x1b" not in run(tmp_path, "fleet", "--labels", "host").stdout


def test_a_page_is_not_for_a_terminal_and_colour_is_asked_for(tmp_path: Path) -> None:
    """As with every other command."""
    cases = triaged(lay_out(tmp_path / "fleet"))
    assert "\x1b[1m" in triage_text.render(triage_of(cases), top=3, colour=True, width=80)
    assert "\x1b" not in triage_text.render(triage_of(cases), top=3, colour=False, width=80)


def test_only_failures_end_with_their_exit_code(tmp_path: Path) -> None:
    """1 where there was nothing to explain, 3 where something could not be read; the cases are told all the same."""
    write(tmp_path / "quiet" / "kern.log", b"[    1.000000] hello\n" * 50)
    done = run(tmp_path, "quiet", expected=1)
    assert done.stdout.startswith("No case could be explained, of 1")
    write(tmp_path / "noise" / "noise.bin", bytes(range(256)) * 300)
    assert "binary data" in run(tmp_path, "noise", expected=3).stdout


@pytest.mark.slow
def test_a_full_disk_is_told(tmp_path: Path) -> None:
    """Where the answer and the tables go; where finished cases are kept that costs nothing else."""
    lay_out(tmp_path / "fleet")
    whole = as_json(tmp_path, "fleet", "--no-cache")
    assert "no space left" in run(tmp_path, "fleet", "-o", "/dev/full", expected=5).stderr

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))

    words = ("fleet", "--no-cache", "--parquet", "tables")
    done = run(tmp_path, *words, expected=5, preexec_fn=small_files)
    assert "--parquet tables: file too large" in done.stderr
    assert not any(path.is_file() for path in (tmp_path / "tables").rglob("*"))
    run(tmp_path, *words, "--format", "json", "-o", "kept.json")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.suffix in (".json", ".parquet")}
    run(tmp_path, *words, expected=5, preexec_fn=small_files)
    run(tmp_path, "fleet", "--format", "json", "-o", "kept.json", expected=5, preexec_fn=small_files)
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.suffix in (".json", ".parquet")}
    assert after == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "fleet", "kept.json", "tables"]
    (tmp_path / "cache" / "oomscope" / "fleet.sqlite").unlink()
    done = run(tmp_path, "fleet", "--format", "json", preexec_fn=small_files)
    assert "nothing is kept for the next time" in done.stderr
    assert json.loads(done.stdout)["cases"] == whole["cases"]


@pytest.mark.slow
def test_the_answer_goes_to_whatever_it_is_sent_to(tmp_path: Path) -> None:
    """A pipe by a path, a file that others hold too, a folder that takes no new file, a name as long as may be."""
    write(tmp_path / "fleet" / "kern.log", log(fleets.REPORTS[0]))
    whole = run(tmp_path, "fleet", "--no-cache").stdout
    assert run(tmp_path, "fleet", "--no-cache", "-o", "/dev/stdout").stdout == whole
    (tmp_path / "one.txt").write_text("before")
    os.link(tmp_path / "one.txt", tmp_path / "two.txt")
    run(tmp_path, "fleet", "-o", "one.txt")
    assert (tmp_path / "two.txt").read_text() == (tmp_path / "one.txt").read_text() == whole
    (tmp_path / "link.txt").symlink_to("three.txt")
    run(tmp_path, "fleet", "-o", "link.txt")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "three.txt").read_text() == whole
    run(tmp_path, "fleet", "-o", "x" * 255)
    assert (tmp_path / ("x" * 255)).read_text() == whole


def test_tables_survive_what_stops_their_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where moving a part fails, no table is without its parts; the next triage puts all right."""
    cases = triaged(write_and_return(tmp_path / "fleet" / "kern.log", log(fleets.REPORTS[0])).parent)
    for _ in range(2):
        with TriageTables(str(tmp_path / "tables"), ()) as tables:
            tables.add(cases[0])
    before = {path.name for path in (tmp_path / "tables").iterdir()}
    monkeypatch.setattr("os.replace", failing_second(os.replace))
    with pytest.raises(OSError, match="no more"), TriageTables(str(tmp_path / "tables"), ()) as tables:
        tables.add(cases[0])
    monkeypatch.undo()
    assert {path.parent.name for path in (tmp_path / "tables").rglob("part-00000.parquet")} == before
    with TriageTables(str(tmp_path / "tables"), ()) as tables:
        tables.add(cases[0])
    assert sorted(path.name for path in (tmp_path / "tables").rglob("part*")) == ["part-00000.parquet"] * 3


def test_tables_of_a_store_have_any_name(tmp_path: Path) -> None:
    """Brackets and stars in a store's names are characters."""
    cases = triaged(write_and_return(tmp_path / "fleet" / "kern.log", log(fleets.REPORTS[0])).parent)
    for _ in range(2):
        with TriageTables("memory://b[1]*/tables", ()) as tables:
            tables.add(cases[0])
    system = fsspec.filesystem("memory")
    names = [path for path in system.store if path.startswith("/b[1]*")]
    assert sorted(names) == [f"/b[1]*/tables/{name}/part-00000.parquet" for name in ("cases", "consumers", "findings")]


def write_and_return(path: Path, content: bytes) -> Path:
    write(path, content)
    return path


def failing_second(replace: Any) -> Any:
    """Moves one file, then no more."""
    moved: list[object] = []

    def move(source: object, target: object) -> None:
        if moved:
            raise OSError(5, "no more")
        moved.append(source)
        replace(source, target)

    return move


def test_a_cache_that_is_none_costs_nothing_else(tmp_path: Path) -> None:
    """Another file in its place, and a folder that cannot be made."""
    lay_out(tmp_path / "fleet")
    whole = as_json(tmp_path, "fleet", "--no-cache")
    write(tmp_path / "cache" / "oomscope" / "fleet.sqlite", b"something else entirely\n" * 100)
    done = run(tmp_path, "fleet", "--format", "json")
    assert "nothing is kept for the next time" in done.stderr
    assert json.loads(done.stdout)["cases"] == whole["cases"]


def test_what_is_kept_is_for_its_owner_and_is_not_believed(tmp_path: Path) -> None:
    """The base has mode 0600; text in it that a terminal would obey is read from the evidence again."""
    lay_out(tmp_path / "fleet")
    whole = as_json(tmp_path, "fleet")
    kept = tmp_path / "cache" / "oomscope" / "fleet.sqlite"
    assert {path.stat().st_mode & 0o777 for path in kept.parent.iterdir()} == {0o600}
    with sqlite3.connect(kept) as base:
        for key, packed in base.execute("SELECT key, results FROM results").fetchall():
            text = zstandard.decompress(packed)
            poisoned = text.replace(b'"headline":"', b'"headline":"\\u001b[2J')
            assert poisoned != text
            base.execute("UPDATE results SET results = ? WHERE key = ?", (zstandard.compress(poisoned), key))
    base.close()
    assert as_json(tmp_path, "fleet")["cases"] == whole["cases"]


def test_a_row_of_every_field_reaches_the_json() -> None:
    """What the model has and the schema has are the same."""
    schema = json.loads(SCHEMA.read_text())
    case = schema["properties"]["cases"]["items"]["properties"]
    from oomscope.model.triage import CaseRow, Cluster

    fields = {field.name for field in dataclasses.fields(CaseRow)} - {"signature", "oom_class"}
    assert fields | {"class"} <= case.keys()
    cluster = schema["properties"]["clusters"]["items"]["properties"]
    assert {field.name for field in dataclasses.fields(Cluster)} <= cluster.keys()
    assert schema["properties"]["schema"]["const"] == triage_json.SCHEMA
