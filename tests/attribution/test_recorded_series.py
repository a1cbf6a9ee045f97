"""Readings that others recorded and published: what leaked there is told, and nothing else (tests/data/series)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from oomscope.attribution.trend import growers
from tests.support.captures import DATA

SERIES = sorted((DATA / "series").glob("*.tsv"))
LEAKS = [path for path in SERIES if path.stem.startswith("leak-")]
HEALTHY = [path for path in SERIES if path.stem.startswith("healthy-")]
RAM = re.compile(r"^# RAM (\d+) GiB", re.MULTILINE)  # what is too little to be told depends on it
FREE = ("MemFree", "LowFree")  # what leaks goes from it
Points = list[tuple[float, int]]


def series(path: Path) -> dict[tuple[str, str], Points]:
    """The file's columns; where it tells what is free, what is gone from that and in no counter beside it."""
    head, *rows = [line.split("\t") for line in path.read_text().splitlines() if not line.startswith("#")]
    names, numbers = head[1:], [[float(cell) for cell in row] for row in rows]
    if names[0] in FREE:
        gone = [(row[0], ram_bytes(path) - int(sum(row[1:]) * 1024)) for row in numbers]
        return {("unaccounted", "unaccounted for"): gone}
    return {
        ("meminfo", name): [(row[0], int(row[place] * 1024)) for row in numbers] for place, name in enumerate(names, 1)
    }


def ram_bytes(path: Path) -> int:
    return int(RAM.findall(path.read_text())[0]) << 30


def told(path: Path, found: dict[tuple[str, str], Points], readings: int) -> list[str]:
    """What is told after so many readings."""
    seen = {key: points[:readings] for key, points in found.items()}
    return [each.holder for each in growers(seen, ram_bytes=ram_bytes(path), available_bytes=None)]


@pytest.mark.parametrize("path", LEAKS, ids=lambda path: path.stem)
def test_the_known_leak_is_told(path: Path) -> None:
    """At the end of the recording, and in three of four moments since it was told first: the watch tells it once."""
    found = series(path)
    ((_, holder),) = found
    length = max(len(points) for points in found.values())
    after = [told(path, found, readings) == [holder] for readings in range(10, length + 1)]
    assert after[-1]
    since = after[after.index(True) :]
    assert sum(since) >= 0.75 * len(since)


@pytest.mark.parametrize("path", HEALTHY, ids=lambda path: path.stem)
def test_nothing_is_told_where_nothing_leaked(path: Path) -> None:
    """At no moment of the recording."""
    found = series(path)
    length = max(len(points) for points in found.values())
    assert [readings for readings in range(10, length + 1) if told(path, found, readings)] == []
