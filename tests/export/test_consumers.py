"""Exports in the hands of other tools: a published reader of each format says what the verdict says."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pyarrow.parquet
import pytest

import oomscope
from oomscope.export import EXPORTS
from oomscope.export.frames import path_of
from oomscope.model.verdict import Verdict
from tests.support import captures
from tests.support.transcriptions import ORDINARY, linux_6_12
from tests.verdict.test_rules import ALLOCATOR

READER = Path(__file__).parents[1] / "support" / "read_profiles.py"
CONSUMERS = Path(__file__).parents[2] / "build" / "consumers"
FLAMEGRAPH, SPEEDSCOPE = "flamegraph-textual==0.1.2", "speedscope@1.25.0"
HOSTILE = "<script>alert(1)</script>;\u202e"


@cache
def case() -> Verdict:
    return oomscope.explain(captures.CASE_6_12)


@pytest.fixture(scope="session")
def reader() -> Path:
    """A Python of its own, so that the reader's dependencies are not oomscope's."""
    python = CONSUMERS / "venv" / "bin" / "python"
    if not (CONSUMERS / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", CONSUMERS / "venv"], check=True)
        done = subprocess.run([python, "-m", "pip", "install", "-q", FLAMEGRAPH], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"pip cannot get {FLAMEGRAPH}: {done.stderr.strip().splitlines()[-1]}")
        (CONSUMERS / "ready").touch()
    return python


def read(reader: Path, path: Path) -> Any:
    done = subprocess.run([reader, READER, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def written(folder: Path, form: str, verdict: Verdict) -> Path:
    path = folder / {"folded": "case.folded", "speedscope": "case.speedscope.json", "pprof": "case.pb.gz"}[form]
    path.write_bytes(EXPORTS[form](verdict))
    return path


def expected(verdict: Verdict) -> Counter[tuple[str, ...]]:
    """Pages of each path from the entry on, and of all its beginnings."""
    pages: Counter[tuple[str, ...]] = Counter()
    for consumer in verdict.consumers:
        path = path_of(consumer)
        for length in range(1, len(path) + 1):
            pages[tuple(path[:length])] += consumer.pages
    return pages


@pytest.mark.parametrize(("form", "column", "unit_pages"), [("folded", 0, 1), ("pprof", 0, 1), ("speedscope", 0, 4096)])
def test_a_published_reader_says_the_same(
    reader: Path, tmp_path: Path, form: str, column: int, unit_pages: int
) -> None:
    """Every frame of every stack with its pages, to the page."""
    told = read(reader, written(tmp_path, form, case()))
    found: Counter[tuple[str, ...]] = Counter()
    for path, values in told["frames"]:
        found[tuple(path)] += values[column]
    assert found == Counter({path: pages * unit_pages for path, pages in expected(case()).items()})


def test_pprof_has_pages_and_bytes(reader: Path, tmp_path: Path) -> None:
    """Two kinds of samples; without a page size, pages alone."""
    told = read(reader, written(tmp_path, "pprof", case()))
    assert told["types"] == [["pages", "count"], ["space", "bytes"]]
    pages = sum(consumer.pages for consumer in case().consumers)
    assert told["root"] == [pages, pages * 4096]
    consumers = tuple(replace(c, size_bytes=None) for c in case().consumers)
    told = read(reader, written(tmp_path, "pprof", replace(case(), consumers=consumers)))
    assert told["types"] == [["pages", "count"]]


def test_speedscope_keeps_the_published_schema() -> None:
    """The schema comes with speedscope itself."""
    if shutil.which("npm") is None:
        pytest.skip("no npm, which has speedscope's schema: apt-get install npm")
    package = CONSUMERS / "speedscope-1.25.0.tgz"
    if not package.exists():
        CONSUMERS.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["npm", "pack", SPEEDSCOPE], cwd=CONSUMERS, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"npm cannot get {SPEEDSCOPE}")
    with tarfile.open(package) as archive:
        member = archive.extractfile("package/dist/release/file-format-schema.json")
        assert member is not None
        schema = json.load(member)
    jsonschema.validate(json.loads(EXPORTS["speedscope"](case())), schema)


def test_parquet_and_csv_have_a_row_for_each_stack(tmp_path: Path) -> None:
    """As pyarrow and the csv module read them."""
    (tmp_path / "case.parquet").write_bytes(EXPORTS["parquet"](case()))
    table = pyarrow.parquet.read_table(tmp_path / "case.parquet")
    rows = list(csv.DictReader(io.StringIO(EXPORTS["csv"](case()).decode())))
    consumers = case().consumers
    assert table.num_rows == len(rows) == len(consumers)
    assert table["pages"].to_pylist() == [int(row["pages"]) for row in rows] == [c.pages for c in consumers]
    assert table["stack"].to_pylist() == [row["stack"].split(";") for row in rows] == [path_of(c) for c in consumers]
    assert table["culprit"].to_pylist()[0] == rows[0]["culprit"] == "leak_mb_write"
    assert table.schema.field("first_allocated_ns").type == "int64"


def test_hostile_names_stay_one_frame(reader: Path, tmp_path: Path) -> None:
    """A symbol with the format's own separators and a formula's beginning: one frame, one cell, one row."""
    record = replace(ORDINARY, frames=(*ALLOCATOR, f"{HOSTILE}+0x1/0x2", "=cmd|x+0x1/0x2"))
    (tmp_path / "page_owner").write_bytes(linux_6_12(record) * 7)
    verdict = oomscope.explain(tmp_path / "page_owner")
    for form in ("folded", "pprof", "speedscope"):
        frames = {path[-1] for path, _ in read(reader, written(tmp_path, form, verdict))["frames"]}
        assert any(name.startswith("<script>alert(1)</script>") for name in frames), form
        assert len(frames) == 4
    (row,) = csv.DictReader(io.StringIO(EXPORTS["csv"](verdict).decode()))
    assert row["stack"].startswith("'=cmd|x")
