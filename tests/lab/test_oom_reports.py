"""The class of every OOM that the lab provokes, from the console alone and together with all that the guest left."""

from __future__ import annotations

import pytest

import oomscope
from lab.scenarios import SCENARIOS
from oomscope.model.verdict import Verdict
from tests.lab.test_dumps import explained
from tests.lab.test_whole_cases import console_of
from tests.support.lab_cases import CASES, Case, each

CLASSES = {scenario.name: scenario.oom_class.split("|") for scenario in SCENARIOS if scenario.oom_class}
# pstore's case ends in the next boot: its console log is what the records of the first one became.
WITH_OOM = [case for case in CASES if case.scenario in CLASSES and case.kernel in case.folder.as_posix()]
DUMPED = [case for case in WITH_OOM if case.end == "panic" and case.has("core")]
WITH_STACKS = [case for case in WITH_OOM if case.has("taken/page_owner")]


def _class_of(verdict: Verdict) -> str:
    assert verdict.oom is not None
    return verdict.oom.oom_class


@pytest.mark.parametrize("case", each(WITH_OOM))
def test_the_console_alone_gives_the_class(case: Case) -> None:
    """Whatever the kernel, the scenario's class comes from the report, and a certain class is never another one."""
    verdict = oomscope.explain(console_of(case))
    assert _class_of(verdict) in CLASSES[case.scenario]


@pytest.mark.parametrize("case", each(DUMPED))
def test_a_dump_gives_the_most_precise_class(case: Case) -> None:
    """With the memory at hand the class is the first one named, where a report alone may tell less."""
    assert _class_of(explained(case)) == CLASSES[case.scenario][0]


@pytest.mark.parametrize("case", each(DUMPED))
def test_the_reports_ram_is_what_the_dump_manages(case: Case) -> None:
    """`pages RAM` minus `pages reserved` of the dying kernel equals the managed pages in its memory, to the page."""
    by_report = oomscope.explain(console_of(case))
    if CLASSES[case.scenario] == ["memcg-limit"]:
        assert by_report.balance is None  # a memory cgroup's report says nothing of the machine's RAM
    else:
        assert by_report.balance is not None
        assert by_report.balance.ram_pages == explained(case).ram_pages


@pytest.mark.parametrize("case", each(WITH_STACKS))
def test_report_and_stacks_tell_one_story(case: Case) -> None:
    """Console and page_owner together: the class stays, and the balance splits what has no counter by culprit."""
    verdict = oomscope.explain(console_of(case), case.folder / "taken")
    assert _class_of(verdict) in CLASSES[case.scenario]
    assert verdict.greatest is not None
    if _class_of(verdict) in ("hidden-kernel", "vmalloc"):
        assert verdict.balance is not None
        ((name, pages), *_) = verdict.balance.unexplained_parts
        culprit = next(row for row in verdict.culprits if str(row.culprit) == name)
        assert pages <= culprit.pages <= verdict.balance.unexplained_pages
        assert any(name in sentence for sentence in verdict.oom.story) if verdict.oom is not None else False
