"""`oomscope explain` on all that a case left: its moments, its witnesses, its console."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import oomscope
from tests.lab.cases import ACCOUNTS, CASES, WITHOUT_TIMES_AND_TASKS, Account, Case, each

GROWN = [
    a for a in ACCOUNTS if a.module and a.moment == "taken" and a.has("page_owner") and a.case.has("at-rest/page_owner")
]
GROWN = [account for account in GROWN if account.case.kernel not in WITHOUT_TIMES_AND_TASKS]
LATEST = [a for a in ACCOUNTS if a.module and a.folder == a.case.moments[-1] and a.has("page_owner")]
WITNESSED = [case for case in CASES if case.has("taken/page_owner") and case.has("taken/show_stacks")]
PRINTED = [case for case in CASES if not case.scenario.startswith("armed-") and case.kernel.endswith("-witness")]
SILENT = [case for case in CASES if not case.scenario.startswith("armed-") and not case.kernel.endswith("-witness")]


@pytest.mark.parametrize("account", each(GROWN))
def test_growth_between_two_moments_is_all_that_was_taken(account: Account) -> None:
    """From nothing at rest to what the function holds: the growth is its pages, whatever the order of the inputs."""
    at_rest = account.case.folder / "at-rest" / "page_owner.zst"
    verdict = oomscope.explain(account.folder / "page_owner.zst", at_rest)
    (row,) = (row for row in verdict.culprits if row.culprit.function == account.function)
    assert (row.growth or "").startswith(f"+{row.pages:,} pages in the ")


@pytest.mark.parametrize("account", each(LATEST))
def test_the_whole_folder_of_a_case_names_the_culprit(account: Account) -> None:
    """Given all moments of a case, files of no known kind among them, the culprit has the pages of the latest dump."""
    verdict = oomscope.explain(*account.case.moments)
    alone = oomscope.explain(account.folder)
    (row,) = (row for row in verdict.culprits if row.culprit.function == account.function)
    assert row.pages == next(r.pages for r in alone.culprits if r.culprit == row.culprit)


@pytest.mark.parametrize("case", each(WITNESSED))
def test_two_counts_differ_by_what_has_a_name(case: Case) -> None:
    """page_owner and show_stacks of one moment differ by early pages, stacks not listed and pages moved: all named."""
    (witness,) = oomscope.explain(case.folder / "taken").witnesses
    assert witness.ours - witness.theirs == sum(part.amount for part in witness.parts)
    assert all(part.stacks for part in witness.parts)


@pytest.mark.parametrize("case", each(PRINTED))
def test_the_dying_kernels_own_count_is_read_to_the_page(case: Case) -> None:
    """The witness printed its greatest consumer: the same pages, and the function that took the last of memory."""
    console = case.text("console.log")
    printed = re.search(r"OOM: greatest memory consumer: (\d+) pages", console)
    totals = re.search(r"OOM: (\d+) stacks hold (\d+) of (\d+) pages; (\d+) pages not counted", console)
    assert printed is not None
    assert totals is not None
    verdict = oomscope.explain(_console(case))
    assert verdict.greatest is not None
    assert verdict.greatest.holding.culprit is not None
    assert verdict.greatest.holding.culprit.function == case.culprit_at_end
    assert verdict.greatest.pages == int(printed[1])
    assert (verdict.counted_stacks, verdict.counted_pages, verdict.ram_pages) == tuple(map(int, totals.groups()[:3]))
    assert verdict.oom is not None
    assert verdict.oom.panic is True


@pytest.mark.parametrize("case", each(SILENT))
def test_a_console_without_at_panic_lines_says_what_to_add(case: Case) -> None:
    """A console alone, of a kernel that printed no consumers, is refused in a sentence."""
    with pytest.raises(oomscope.NothingToExplain):
        oomscope.explain(_console(case))


def _console(case: Case) -> Path:
    return next(case.folder.glob("console.log*"))
