from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomscope.attribution import splitter
from oomscope.attribution import tally as tally_module
from oomscope.attribution.selection import Selection
from oomscope.attribution.tally import AGE_BINS, Tally
from oomscope.model.batch import Batch, Place, Request, Tables, Task
from oomscope.model.counts import Counts
from oomscope.model.stack import Frame, Stack
from tests.support.draws import draws

STACKS = [Stack((Frame(f"function_{i}+0x1/0x2", f"function_{i}", 1, 2),)) for i in range(4)]
REQUESTS = [Request(order, 0xCC0, flags) for order in (0, 3) for flags in ("GFP_KERNEL", "GFP_KERNEL|__GFP_ZERO")]
TASKS = [Task(pid, pid, comm) for pid, comm in ((1, "init"), (7, "sh"), (8, "sh"))]
PLACES = [Place(0, 1), Place(1, 2)]
MEMCGS = [None, "a", "b"]

Row = tuple[int, int, int, int, int, int]
ROWS = st.lists(
    st.tuples(
        st.integers(0, len(STACKS) - 1),
        st.integers(0, len(REQUESTS) - 1),
        st.integers(0, len(TASKS) - 1),
        st.integers(0, len(PLACES) - 1),
        st.integers(0, len(MEMCGS) - 1),
        st.integers(0, 2**45),
    ),
    max_size=60,
)


def batch(rows: list[Row]) -> Batch:
    tables = Tables(list(STACKS), list(REQUESTS), list(TASKS), list(PLACES), list(MEMCGS))
    stack, request, task, place, memcg, times = np.array(rows, np.int64).reshape(-1, 6).T
    pages = np.array([1 << REQUESTS[r].order for r in request.tolist()], np.int64)
    return Batch(tables, stack, pages, np.ones_like(pages), request, task, place, memcg, times)


def per_value(counts: Counts, name: str) -> dict[object, int]:
    split = getattr(counts, name)
    return {v: p for v, p in zip(split.values, split.pages.tolist(), strict=True) if p}


def per_pair(counts: Counts, name: str) -> dict[tuple[Stack, object], int]:
    split = getattr(counts, name)
    pairs = zip(split.pair_stack.tolist(), split.pair_value.tolist(), split.pair_pages.tolist(), strict=True)
    return {(counts.stacks[s], split.values[v]): p for s, v, p in pairs}


def check(counts: Counts, rows: list[Row]) -> None:
    """Every sum equals a loop over the rows."""
    pages: Counter[Stack] = Counter()
    values: dict[str, Counter[object]] = {n: Counter() for n in ("requests", "tasks", "places", "memcgs")}
    pairs: dict[str, Counter[tuple[Stack, object]]] = {n: Counter() for n in values}
    times: dict[Stack, list[int]] = {}
    for s, r, t, p, m, time in rows:
        size = 1 << REQUESTS[r].order
        pages[STACKS[s]] += size
        times.setdefault(STACKS[s], []).append(time)
        for name, value in (
            ("requests", REQUESTS[r]),
            ("tasks", TASKS[t]),
            ("places", PLACES[p]),
            ("memcgs", MEMCGS[m]),
        ):
            values[name][value] += size
            pairs[name][STACKS[s], value] += size
    assert counts.pages is not None
    assert {s: p for s, p in zip(counts.stacks, counts.pages.tolist(), strict=True) if p} == pages
    for name in values:
        assert per_value(counts, name) == values[name]
        assert per_pair(counts, name) == pairs[name]
    for row, stack in enumerate(counts.stacks):
        if stack in times:
            assert (counts.first_ns[row], counts.last_ns[row]) == (min(times[stack]), max(times[stack]))
            assert counts.ages.pages[row].sum() == pages[stack]
            bins = {time // counts.ages.bin_ns for time in times[stack]}
            assert set(np.flatnonzero(counts.ages.pages[row]).tolist()) == bins
    assert counts.rows == len(rows)


@given(st.lists(ROWS, max_size=4))
@draws(100)
def test_sums_equal_a_loop_over_the_rows(batches: list[list[Row]]) -> None:
    """Whatever comes in which batches, pages per stack, task, order, node, memcg and time are what a loop counts."""
    tally = Tally()
    for rows in batches:
        tally.add(batch(rows))
    check(tally.counts(), [row for rows in batches for row in rows])


@given(st.lists(ROWS, max_size=4))
@draws(100)
def test_tallies_of_parts_come_together(parts: list[list[Row]]) -> None:
    """Counts of several workers absorbed into one are the counts of all rows."""
    total = Tally()
    for rows in parts:
        worker = Tally()
        worker.add(batch(rows))
        total.absorb(worker.counts())
    check(total.counts(), [row for rows in parts for row in rows])


@given(ROWS, st.integers(0, 2**45), st.integers(0, 2**45))
@draws(100)
def test_a_selection_leaves_out_what_it_does_not_ask_for(rows: list[Row], since_ns: int, until_ns: int) -> None:
    """Filters combine: a row is counted when all of them hold."""
    selection = Selection(
        comms=frozenset({"sh"}),
        gfp_flags=frozenset({"__GFP_ZERO"}),
        nodes=frozenset({1}),
        since_ns=since_ns,
        until_ns=until_ns,
    )
    tally = Tally(selection)
    tally.add(batch(rows))
    kept = [
        row
        for row in rows
        if TASKS[row[2]].comm == "sh"
        and "__GFP_ZERO" in REQUESTS[row[1]].gfp_flags
        and PLACES[row[3]].node == 1
        and since_ns <= row[5] <= until_ns
    ]
    check(tally.counts(), kept)


def test_many_rows_are_flushed_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flushing, dense and sparse sums give the same as one flush."""
    monkeypatch.setattr(tally_module, "ROWS_PER_FLUSH", 7)
    monkeypatch.setattr(splitter, "ROWS_PER_FLUSH", 7)
    monkeypatch.setattr(splitter, "_DENSE_CELLS", 3)
    rows = list(_many_rows())
    tally = Tally()
    for start in range(0, len(rows), 5):
        tally.add(batch(rows[start : start + 5]))
    check(tally.counts(), rows)


def test_too_many_pairs_are_pruned_and_the_sums_stay_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound each stack keeps its largest tasks, says so, and what every task holds in all is still exact."""
    monkeypatch.setattr(splitter, "_PAIRS_KEPT", 8)
    monkeypatch.setattr(splitter, "_LARGEST_PER_STACK", 1)
    rows = list(_many_rows())
    tally = Tally()
    tally.add(batch(rows))
    counts = tally.counts()
    assert counts.tasks.pruned
    expected: Counter[object] = Counter()
    for row in rows:
        expected[TASKS[row[2]]] += 1 << REQUESTS[row[1]].order
    assert per_value(counts, "tasks") == expected
    assert len(counts.tasks.pair_stack) == len(STACKS)


def test_rows_without_a_time_are_left_out_by_a_time_filter() -> None:
    """Records of kernels without time stamps cannot pass --since, and how many is counted."""
    whole = batch(list(_many_rows()))
    untimed = Batch(whole.tables, whole.stack, whole.pages, whole.blocks)
    tally = Tally(Selection(since_ns=0))
    tally.add(untimed)
    counts = tally.counts()
    assert (counts.rows, counts.untold_rows_left_out) == (0, len(whole.stack))


def test_ages_fold_as_time_goes_on() -> None:
    """The histogram covers any time with the same number of bins."""
    tally = Tally()
    for time in (5, 10**9, 10**18):
        tally.add(batch([(0, 0, 0, 0, 0, time)]))
    ages = tally.counts().ages
    assert ages.pages.shape == (len(STACKS), AGE_BINS)
    assert ages.pages.sum() == 3
    assert 10**18 // ages.bin_ns < AGE_BINS <= 2 * (10**18 // ages.bin_ns) + 2


def _many_rows() -> Iterator[Row]:
    for i in range(1009):
        yield (i % 4, i % 4, i % 3, i % 2, (i // 5) % 3, i * 7_919_003)
