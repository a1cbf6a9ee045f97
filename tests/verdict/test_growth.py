from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import oomscope
from oomscope.verdict.growth import BURST, EVEN, MIXED, RECENT
from tests.support import captures
from tests.support.transcriptions import ORDINARY, Record, linux_4_14, linux_6_12

DAY_NS = 86_400 * 10**9
OTHER = replace(ORDINARY, frames=("post_alloc_hook+0x6f/0xc2", "copy_process+0x2f0/0x1cc0"))


def growth_of(path: Path, times_ns: list[int], captured_ns: int = 10 * DAY_NS) -> str | None:
    """What is said of a stack whose pages were allocated at these times, in a dump taken at another."""
    records = [linux_6_12(replace(ORDINARY, ts_ns=time)) for time in times_ns]
    records.append(linux_6_12(replace(OTHER, ts_ns=captured_ns)))
    path.write_bytes(b"".join(records))
    verdict = oomscope.explain(path)
    assert verdict.greatest is not None
    assert verdict.culprits[0].growth == verdict.greatest.growth
    return verdict.greatest.growth


def _times(between: Callable[[random.Random], float], count: int = 997) -> list[int]:
    rng = random.Random(7)
    return [int(between(rng) * DAY_NS) for _ in range(count)]


@pytest.mark.parametrize(
    ("times_ns", "pattern"),
    [
        (_times(lambda r: r.uniform(0.1, 9.9)), EVEN),
        (_times(lambda r: r.uniform(3, 9.9)), EVEN),
        (_times(lambda r: r.uniform(9.7, 9.99)), RECENT),
        (_times(lambda r: r.uniform(0.01, 0.2)), BURST),
        (_times(lambda r: r.uniform(5.0, 5.2)), BURST),
        (_times(lambda r: r.choice([1.0, 9.9])), MIXED),
        (_times(lambda r: r.uniform(0.5, 4)), MIXED),
    ],
    ids=["all the time", "since day three", "today", "at boot", "one night", "twice", "stopped"],
)
def test_what_one_dump_tells(tmp_path: Path, times_ns: list[int], pattern: str) -> None:
    """Even ages look like a leak, recent ones like churn, all old ones like taken once; others like nothing."""
    growth = growth_of(tmp_path / "dump", times_ns)
    assert growth is not None
    assert growth.startswith(pattern)
    assert ("looks like a leak" in growth) == (pattern == EVEN)


def test_few_pages_tell_nothing(tmp_path: Path) -> None:
    """Of a handful of pages no pattern is claimed."""
    assert growth_of(tmp_path / "dump", _times(lambda r: r.uniform(0, 10), count=20)) is None


def test_kernels_without_times_tell_nothing(tmp_path: Path) -> None:
    """Before 5.11 records carry no time: nothing is claimed, and what is missing is said."""
    path = tmp_path / "dump"
    path.write_bytes(linux_4_14(ORDINARY) * 100)
    verdict = oomscope.explain(path)
    assert verdict.greatest is not None
    assert verdict.greatest.growth is None
    assert verdict.at_ns is None
    assert any("carry no time" in absent.reason for absent in verdict.absent)


def test_two_captures_prove_growth() -> None:
    """Given the dump before and after, the leak is +35,072 pages, whatever the files are called."""
    for order in (captures.BEFORE_6_12, captures.AFTER_6_12), (captures.AFTER_6_12, captures.BEFORE_6_12):
        verdict = oomscope.explain(*order)
        assert verdict.greatest is not None
        assert verdict.greatest.pages == captures.LEAKED_PAGES
        assert (verdict.greatest.growth or "").startswith("+35,072 pages in the ")
        grown = [f for f in verdict.findings if "grew by" in f.claim]
        assert [f.pages for f in grown] == [captures.LEAKED_PAGES]
        assert grown[0].certainty == "certain"


def test_shrinking_is_told_too(tmp_path: Path) -> None:
    """A culprit that gave pages back shows a minus."""

    def dump(record: Record, count: int, ts_ns: int) -> bytes:
        return b"".join(linux_6_12(replace(record, ts_ns=ts_ns)) for _ in range(count))

    (tmp_path / "a").write_bytes(dump(ORDINARY, 500, 10**9))
    (tmp_path / "b").write_bytes(dump(ORDINARY, 100, 10**9) + dump(OTHER, 1, 9 * 10**9))
    verdict = oomscope.explain(tmp_path)
    assert verdict.greatest is not None
    assert verdict.greatest.growth == "-400 pages in the 8.0 s since the earlier reading"


def test_the_spread_of_allocation_times(tmp_path: Path) -> None:
    """5, 50 and 95 of 100 pages were allocated by the times told, to the width of a bin (here under a 32nd)."""
    times_ns = sorted(_times(lambda r: r.uniform(1, 9)))
    growth_of(tmp_path / "dump", times_ns)
    greatest = oomscope.explain(tmp_path / "dump").greatest
    assert greatest is not None
    assert greatest.spread_ns is not None
    for told_ns, part in zip(greatest.spread_ns, (0.05, 0.5, 0.95), strict=True):
        exact_ns = times_ns[int(part * len(times_ns))]
        assert abs(told_ns - exact_ns) <= 10 * DAY_NS / 32
