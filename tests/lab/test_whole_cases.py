"""`oomscope explain` on all that a case left: its moments, its witnesses, its console."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import oomscope
from tests.support.lab_cases import ACCOUNTS, CASES, WITHOUT_TIMES_AND_TASKS, Case, HolderTruth, each

OOM = "invoked oom-killer|page allocation failure|OOM: greatest"
GROWN = [
    a for a in ACCOUNTS if a.module and a.moment == "taken" and a.has("page_owner") and a.case.has("at-rest/page_owner")
]
GROWN = [account for account in GROWN if account.case.kernel not in WITHOUT_TIMES_AND_TASKS]
LATEST = [a for a in ACCOUNTS if a.module and a.folder == a.case.moments[-1] and a.has("page_owner")]
WITNESSED = [case for case in CASES if case.has("taken/page_owner") and case.has("taken/show_stacks")]
PRINTED = [case for case in CASES if not case.scenario.startswith("armed-") and case.kernel.endswith("-witness")]
QUIET = [case for case in CASES if case.end == "alive" and not re.search(OOM, case.text("console.log"))]


@pytest.mark.parametrize("account", each(GROWN))
def test_growth_between_two_moments_is_all_that_was_taken(account: HolderTruth) -> None:
    """From nothing at rest to what the function holds: the growth is its pages, whatever the order of the inputs."""
    at_rest = account.case.folder / "at-rest" / "page_owner.zst"
    verdict = oomscope.explain(account.folder / "page_owner.zst", at_rest)
    (row,) = (row for row in verdict.culprits if row.culprit.function == account.function)
    assert (row.growth or "").startswith(f"+{row.pages:,} pages in the ")


@pytest.mark.parametrize("account", each(LATEST))
def test_the_whole_folder_of_a_case_names_the_culprit(account: HolderTruth) -> None:
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
    verdict = oomscope.explain(console_of(case))
    assert verdict.greatest is not None
    assert verdict.greatest.holding.culprit is not None
    assert verdict.greatest.holding.culprit.function in case.culprits_at_end
    assert verdict.greatest.pages == int(printed[1])
    assert (verdict.counted_stacks, verdict.counted_pages, verdict.ram_pages) == tuple(map(int, totals.groups()[:3]))
    assert verdict.oom is not None
    assert verdict.oom.panic is True


@pytest.mark.parametrize("case", each(QUIET))
def test_a_console_without_any_oom_is_refused(case: Case) -> None:
    """A guest that did not run out of memory leaves a console with nothing to explain."""
    with pytest.raises(oomscope.OomscopeError) as refused:
        oomscope.explain(console_of(case))
    assert refused.value.exit_code in (1, 3)


def console_of(case: Case) -> Path:
    """What the guest printed."""
    return next(case.folder.glob("console.log*"))
