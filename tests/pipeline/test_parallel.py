from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import oomscope
from oomscope.pipeline import inputs, parallel
from oomscope.sources.page_owner.dump import SEPARATOR
from tests.support import brute_force, captures
from tests.support.transcriptions import ORDINARY, awkward_records, linux_6_12


@pytest.fixture(autouse=True)
def three_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine with three CPUs, whatever threads the test runner has."""
    monkeypatch.setattr(parallel, "worker_count", lambda: 3)
    monkeypatch.setattr(inputs, "worker_count", lambda: 3)


TEXT = captures.text(captures.AFTER_6_12)


@pytest.mark.parametrize("part_bytes", [1 << 12, 1 << 16, 1 << 20])
def test_parts_of_a_file_are_the_file(tmp_path: Path, part_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is cut before separators only, and nothing is lost or read twice."""
    monkeypatch.setattr(parallel, "PART_BYTES", part_bytes)
    path = tmp_path / "dump"
    path.write_bytes(TEXT[: 3 << 20])
    defects: list[str] = []
    with path.open("rb") as file:
        parts = list(parallel.file_parts(file.fileno(), 3 << 20, SEPARATOR))
        assert b"".join(chunk for part in parts for chunk in part.chunks(defects)) == TEXT[: 3 << 20]
        assert all(next(part.chunks(defects)).startswith(SEPARATOR) for part in parts[1:])
    assert len(parts) > 1
    assert defects == []


@pytest.mark.parametrize("chunk_bytes", [1000, 1 << 16, 1 << 20])
def test_parts_of_a_stream_are_the_stream(chunk_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream is cut before separators only, and nothing is lost."""
    monkeypatch.setattr(parallel, "PART_BYTES", 1 << 18)
    text = TEXT[: 3 << 20]
    parts = list(
        parallel.stream_parts((text[i : i + chunk_bytes] for i in range(0, len(text), chunk_bytes)), SEPARATOR)
    )
    assert b"".join(parts) == text
    assert all(part.startswith(SEPARATOR) for part in parts[1:])
    assert len(parts) > 3


def test_a_stream_without_separators_is_passed_on_in_bounded_parts() -> None:
    """What is no dump after all does not pile up."""
    chunks = (b"A" * (1 << 20) for _ in range(40))
    parts = list(parallel.stream_parts(chunks, SEPARATOR))
    assert sum(map(len, parts)) == 40 << 20
    assert max(map(len, parts)) <= 2 * parallel.PART_BYTES


@pytest.mark.parametrize("ranking_only", [False, True])
@pytest.mark.parametrize("as_stream", [False, True])
def test_many_processes_count_what_one_counts(
    tmp_path: Path, ranking_only: bool, as_stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dump read in parts by several processes gives the sums of a slow reading, from a file and from a pipe."""
    monkeypatch.setattr(parallel, "PART_BYTES", 1 << 20)
    monkeypatch.setattr(inputs, "PART_BYTES", 1 << 20)
    text = TEXT + b"".join(linux_6_12(r) for r in awkward_records()) * 50
    path = tmp_path / "dump"
    if as_stream:
        (tmp_path / "text").write_bytes(text)
        os.mkfifo(path)
        writer = subprocess.Popen(["/bin/sh", "-c", 'cat "$1" > "$2"', "sh", tmp_path / "text", path])
    else:
        path.write_bytes(text)
    counts = oomscope.read(path, ranking_only=ranking_only).latest.counts
    if as_stream:
        assert writer.wait(10) == 0
    expected = brute_force.pages_per_stack(TEXT)
    for r in awkward_records():
        expected[r.frames] += 50 << r.order
    assert counts.pages is not None
    assert Counter({s.texts: p for s, p in zip(counts.stacks, counts.pages.tolist(), strict=True)}) == expected


def test_progress_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While reading, bytes done rise to the size of the input."""
    monkeypatch.setattr(parallel, "PART_BYTES", 1 << 20)
    monkeypatch.setattr(inputs, "PART_BYTES", 1 << 20)
    path = tmp_path / "dump"
    path.write_bytes(TEXT)
    told: list[tuple[int, int | None]] = []
    oomscope.read(path, progress=lambda _, done, total, _unit: told.append((done, total)))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1] == (len(TEXT), len(TEXT))


def test_a_worker_that_dies_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a process is killed while reading, there is an error and no hang."""
    monkeypatch.setattr(parallel, "PART_BYTES", 1 << 18)
    monkeypatch.setattr(inputs, "PART_BYTES", 1 << 18)
    monkeypatch.setattr(parallel.FilePart, "chunks", _die)
    path = tmp_path / "dump"
    path.write_bytes(linux_6_12(ORDINARY) * 10_000)
    with pytest.raises(oomscope.Unreadable, match="a worker process died"):
        oomscope.read(path)


def test_beside_other_threads_one_process_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fork would copy the locks of other Python threads: beside them nothing is forked."""
    monkeypatch.undo()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(parallel.worker_count).result() == 1


def _die(_: parallel.FilePart) -> Iterator[bytes]:
    os.kill(os.getpid(), 9)
    yield b""


def test_crlf_at_the_ends_of_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a part ends between CR and LF, no line is made of it."""
    monkeypatch.setattr(parallel, "PART_BYTES", 1 << 16)
    monkeypatch.setattr(inputs, "PART_BYTES", 1 << 16)
    path = tmp_path / "dump"
    path.write_bytes(TEXT[: 3 << 20].rpartition(b"\n\n")[0].replace(b"\n", b"\r\n"))
    notes = oomscope.read(path).latest.reading.notes
    assert (notes.stats.unknown_lines, notes.stats.corrupt_records) == (0, 0)
