"""Leaks of many kinds in one guest: dump and living kernel name for each whom an expert would (lab/leaks.py)."""

from __future__ import annotations

import json
from functools import cache
from typing import NamedTuple

import pytest

from lab.leaks import GROUPS, Leak
from tests.lab.test_dumps import explained
from tests.support.lab_cases import ACCOUNTS, CASES, Case, HolderTruth, each

LEAKY = [case for case in CASES if case.scenario.startswith("leaks-by-")]
OF_MODULES = [account for account in ACCOUNTS if account.case.scenario.startswith("leaks-of-modules")]
MOST_BESIDES = 0.2  # of a leak: what the same function holds for others, the room within buffers
KINDS_LEAST = 8  # of each group's, that a kernel has


class Told(NamedTuple):
    """Pages by culprit, and by row of the balance."""

    culprits: dict[str, int]
    rows: dict[str, int]


@cache
def told(case: Case, way: str) -> Told:
    """What the dump says, or what the command said in the guest."""
    if way == "dump":
        verdict = explained(case)
        assert verdict.balance is not None
        return Told(
            {row.culprit.function: row.pages for row in verdict.culprits if row.culprit is not None},
            {row.kind: row.pages for row in verdict.balance.rows},
        )
    live = json.loads(case.text("taken/live.json"))
    return Told(
        {row["function"]: row["pages"] for row in live["culprits"]},
        {row["kind"]: row["pages"] for row in live["balance"]["rows"]},
    )


def leaks_of(case: Case) -> list[Leak]:
    """Those that this kernel has."""
    without = case.text("no-such-way").split() if case.has("no-such-way") else []
    return [leak for leak in GROUPS[case.scenario.removesuffix("-tracked")] if leak.way not in without]


@pytest.mark.parametrize("way", ["dump", "live"])
@pytest.mark.parametrize("case", each(LEAKY))
def test_each_leak_has_its_holder(case: Case, way: str) -> None:
    """The holder's pages are the leak's, and little besides; memory with a counter of its own stands in its row."""
    leaks = leaks_of(case)
    assert len(leaks) >= KINDS_LEAST
    found = told(case, way)
    wrong = []
    for leak in leaks:
        if leak.row is not None:
            pages = found.rows.get(leak.row, 0)
        else:
            pages = sum(found.culprits.get(name, 0) for name in leak.culprits)
        most = pages if leak.are_objects or leak.row else leak.pages * (1 + MOST_BESIDES) + 64
        if not leak.pages <= pages <= most:
            wrong.append((leak.way, leak.pages, pages))
    assert wrong == []


@pytest.mark.parametrize("account", each(OF_MODULES))
def test_code_without_a_task_of_its_own_is_named(account: HolderTruth) -> None:
    """A work item, a kernel thread, a timer, a large kmalloc, pages in bulk: each by its own function, to the page."""
    assert told(account.case, "dump").culprits[account.function] == account.pages
