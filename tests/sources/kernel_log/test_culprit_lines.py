"""The culprits that a dying kernel added up itself, as the lab's 6.12 printed them, read back from its console."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import oomscope
from oomscope.attribution.selection import Selection
from oomscope.model.diff import CULPRIT
from oomscope.pipeline.api import compare
from oomscope.report.json_report import render
from oomscope.verdict import Question

CONSUMERS = """\
OOM: greatest memory consumer: 5807 pages are allocated from:
 __alloc_pages_noprof+0x311/0x380
 alloc_pages_mpol_noprof+0x8b/0x1d0
 take_shared+0x27/0x50 [oomlab]
 path_12+0xa/0x10 [oomlab]
OOM: memory consumer #2: 5807 pages are allocated from:
 __alloc_pages_noprof+0x311/0x380
 alloc_pages_mpol_noprof+0x8b/0x1d0
 take_shared+0x27/0x50 [oomlab]
 path_14+0xa/0x10 [oomlab]
"""
CULPRITS = """\
OOM: greatest culprit: 173555 pages by take_shared [oomlab] through 46 stacks
OOM: next culprit: 1060 pages by perf_trace_event_init through 8 stacks
OOM: next culprit: 132 pages by __rb_allocate_pages through 3 stacks
"""
TOTALS = """\
OOM: 84 stacks hold 174836 of 186852 pages; 8521 pages not counted
OOM: tracked since 41.428018 s; 8521 pages were allocated before that
"""
LATER = "OOM: 171116 pages by modules loaded since it was armed, whose helpers are not known\n"
SAMPLED = """\
OOM: 1 of 64 pages looked at: the greatest culprit holds 92.8 % +- 0.6 % of RAM
OOM: it is {}surely the greatest; pages may be off by 1009
"""


def explained(tmp_path: Path, text: str) -> oomscope.Verdict:
    path = tmp_path / "console.log"
    path.write_text(text)
    return oomscope.explain(path)


def rows(verdict: oomscope.Verdict) -> list[tuple[str, int, int]]:
    return [(str(row.culprit), row.pages, row.stacks) for row in verdict.culprits]


def test_the_sum_over_all_stacks_goes_before_the_stacks_that_were_printed(tmp_path: Path) -> None:
    """The headline is the culprit's 173,555 pages; the greatest stack, a thirtieth of it, is said beside it."""
    verdict = explained(tmp_path, CONSUMERS + CULPRITS + TOTALS)
    assert rows(verdict) == [
        ("take_shared [oomlab]", 173_555, 46),
        ("perf_trace_event_init", 1_060, 8),
        ("__rb_allocate_pages", 132, 3),
    ]
    assert (verdict.answer.holder, verdict.answer.pages) == ("take_shared", 173_555)
    assert verdict.answer.second.startswith("its greatest single stack holds 5,807 pages")
    (split,) = [finding for finding in verdict.findings if "46 stacks" in finding.claim]
    assert split.certainty == "likely"  # 44 stacks were not printed: some of them may be slab
    assert any("as the dying kernel added them up" in because for because in split.because)


def test_a_log_that_was_filtered_by_a_word_is_enough(tmp_path: Path) -> None:
    """Frames have no "OOM:" in their lines; the culprits name their functions all the same."""
    filtered = "".join(line + "\n" for line in (CONSUMERS + CULPRITS + TOTALS).splitlines() if "OOM:" in line)
    path = tmp_path / "filtered.log"
    path.write_text(filtered)
    verdict = oomscope.explain(path)
    assert rows(verdict)[0] == ("take_shared [oomlab]", 173_555, 46)
    assert verdict.answer.holder == "take_shared"
    assert verdict.answer.certainty == "likely"
    assert "the stacks of the culprits" in told(verdict)
    assert "too damaged" not in told(verdict)
    assert json.loads(render(verdict, top=10))["culprits"][0]["kinds"] == []


def test_of_two_reports_the_last_one_counts(tmp_path: Path) -> None:
    """Each with its own culprits: nothing of the first is left."""
    earlier = CULPRITS.replace("173555", "99").replace("take_shared", "somebody_else")
    verdict = explained(tmp_path, CONSUMERS + earlier + TOTALS + CONSUMERS + CULPRITS + TOTALS)
    assert rows(verdict)[0] == ("take_shared [oomlab]", 173_555, 46)
    assert not any("somebody_else" in name for name, _, _ in rows(verdict))


def test_by_culprit_shows_what_was_told(tmp_path: Path) -> None:
    """The grouping has the same numbers as the answer."""
    path = tmp_path / "console.log"
    path.write_text(CONSUMERS + CULPRITS + TOTALS)
    verdict = oomscope.explain(path, question=Question(by="culprit"))
    first = verdict.groups[0]
    assert (first.name, first.pages, first.stacks) == ("take_shared [oomlab]", 173_555, 46)


def told(verdict: oomscope.Verdict) -> str:
    """What is said not to be known."""
    return "\n".join(f"{unknown.what}: {unknown.reason}" for unknown in verdict.absent)


@pytest.mark.parametrize(
    "culprits", [CULPRITS, "OOM: greatest culprit: 173555 pages by take_shared [oomlab] through 1 stacks\n"]
)
def test_modules_that_came_later_are_told(tmp_path: Path, culprits: str) -> None:
    """Helpers of theirs may be named: that is said whatever else is, and nothing of it is certain."""
    verdict = explained(tmp_path, culprits + LATER + TOTALS)
    assert "who answers for 171,116 pages within their modules" in told(verdict)
    assert verdict.answer.certainty != "certain"
    assert "1 stacks" not in verdict.answer.headline


@pytest.mark.parametrize(("doubt", "certainty"), [("", "likely"), ("not ", "possible")])
@pytest.mark.parametrize("consumers", [CONSUMERS, ""])
def test_an_estimate_is_called_one(tmp_path: Path, doubt: str, certainty: str, consumers: str) -> None:
    """One page of 64 was looked at: nothing is certain, and how exact it is stands among what is not known."""
    verdict = explained(tmp_path, consumers + CULPRITS + SAMPLED.format(doubt) + TOTALS)
    assert "certain" not in {finding.certainty for finding in verdict.findings}
    assert verdict.answer.certainty == certainty
    assert "1 of 64 pages was looked at" in told(verdict)
    assert "within 1,009 pages in 95 of 100" in told(verdict)


@pytest.mark.parametrize("line", SAMPLED.format("").splitlines(keepends=True))
def test_an_estimate_without_its_other_line_is_one_all_the_same(tmp_path: Path, line: str) -> None:
    """No bound is made up, and none is lost."""
    verdict = explained(tmp_path, CONSUMERS + CULPRITS + line + TOTALS)
    assert "certain" not in {finding.certainty for finding in verdict.findings}
    assert "within 0 pages" not in told(verdict)
    assert ("within 1,009 pages" in told(verdict)) is ("may be off" in line)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("OOM: culprits of 100000 pages are not counted\n", "the culprits of 100,000 pages"),
        ("OOM: stopped after 5000 ms: the numbers are too small\n", "numbers are too small"),
    ],
)
def test_what_the_program_says_it_lost_is_said(tmp_path: Path, line: str, what: str) -> None:
    """And the sum is no certain one then."""
    verdict = explained(tmp_path, CONSUMERS + CULPRITS + line + TOTALS)
    assert what in told(verdict)
    assert verdict.answer.certainty == "likely"


def test_the_answer_is_as_sure_as_the_finding_that_says_it(tmp_path: Path) -> None:
    """A stack of 5,807 pages is certain; the sum of 173,555 over stacks that were not printed is likely."""
    verdict = explained(tmp_path, CONSUMERS + CULPRITS + TOTALS)
    assert (verdict.answer.pages, verdict.answer.certainty) == (173_555, "likely")


def test_forms_that_a_compiler_made_of_a_function_are_one(tmp_path: Path) -> None:
    """Each told in a line of its own: pages and stacks are added up."""
    lines = (
        "OOM: greatest culprit: 100000 pages by foo [m] through 40 stacks\n"
        "OOM: next culprit: 60000 pages by foo.isra.0 [m] through 20 stacks\n"
        "OOM: next culprit: 10000 pages by bar through 3 stacks\n"
    )
    verdict = explained(tmp_path, lines + TOTALS)
    assert rows(verdict) == [("foo [m]", 160_000, 60), ("bar", 10_000, 3)]


def test_modules_have_what_their_culprits_have(tmp_path: Path) -> None:
    """The grouping agrees with the answer, with stacks in the log or without."""
    for consumers in (CONSUMERS, ""):
        path = tmp_path / "console.log"
        path.write_text(consumers + CULPRITS + TOTALS)
        groups = oomscope.explain(path, question=Question(by="module")).groups
        found = {group.name: (group.pages, group.stacks) for group in groups}
        assert found == {"oomlab": (173_555, 46), "vmlinux": (1_192, 11)}


def test_filters_leave_the_sums_out_and_say_so(tmp_path: Path) -> None:
    """What is left are the stacks that were printed: no claim on them is about the whole."""
    path = tmp_path / "console.log"
    path.write_text(CONSUMERS + CULPRITS + TOTALS)
    verdict = oomscope.explain(path, selection=Selection(modules=frozenset({"oomlab"})))
    assert "the sums over all stacks that the dying kernel added up" in told(verdict)
    assert [f.certainty for f in verdict.findings if "at least 11,614 pages" in f.claim] == ["likely"]


def test_growth_is_told_by_the_sums(tmp_path: Path) -> None:
    """Of two panics of one machine: not by what happened to be printed of their stacks."""
    before, after = tmp_path / "before.log", tmp_path / "after.log"
    before.write_text(
        "[   10.000000] x\n" + CONSUMERS.replace("5807", "1000") + CULPRITS.replace("173555", "3000") + TOTALS
    )
    after.write_text("[   20.000000] x\n" + CONSUMERS + CULPRITS + TOTALS)
    grown = compare(before, after)
    (first, *_) = [change for change in grown.changes if change.kind == CULPRIT]
    assert (first.name, first.before_pages, first.after_pages) == ("take_shared [oomlab]", 3_000, 173_555)


NEXT = "".join(CULPRITS.splitlines(keepends=True)[1:])


def test_who_comes_second_is_never_the_answer(tmp_path: Path) -> None:
    """The ring's beginning is gone, and the greatest culprit with it: that is said, and nobody is named."""
    path = tmp_path / "console.log"
    path.write_text(NEXT + TOTALS)
    with pytest.raises(oomscope.NothingToExplain, match="perf_trace_event_init with 1,060 pages is at best the second"):
        oomscope.explain(path)


def test_stacks_without_their_sum_are_a_part_of_it(tmp_path: Path) -> None:
    """Of 84 stacks two were printed, and the line of the greatest culprit is lost: "at least", and not certain."""
    verdict = explained(tmp_path, CONSUMERS + NEXT + TOTALS)
    assert verdict.answer.headline.startswith("take_shared [oomlab] holds at least 11,614 pages")
    assert verdict.answer.headline.endswith("by the 2 of its stacks that were printed")
    assert verdict.answer.certainty == "likely"
    assert "at best the second" in told(verdict)
    assert not any("added them up" in because for finding in verdict.findings for because in finding.because)


def test_stacks_whose_first_line_is_lost_are_used(tmp_path: Path) -> None:
    """The second and third consumer are whole: they are not denied because the first one's line is gone."""
    second = CONSUMERS[CONSUMERS.index("OOM: memory consumer #2") :]
    verdict = explained(tmp_path, " take_shared+0x27/0x50 [oomlab]\n" + second + CULPRITS + TOTALS)
    assert [consumer.pages for consumer in verdict.consumers] == [5_807]
    assert rows(verdict)[0] == ("take_shared [oomlab]", 173_555, 46)
    assert "the frames of the at-panic lines are not in this log" not in told(verdict)


@pytest.mark.parametrize(
    "line",
    [
        "OOM: next culprit: 999999999999999 pages by f through 9 stacks\n",
        "OOM: next culprit: 0 pages by f through 0 stacks\n",
    ],
)
def test_a_line_that_cannot_be_is_counted_as_damaged(tmp_path: Path, line: str) -> None:
    """It names nobody, and it is not passed over silently."""
    verdict = explained(tmp_path, CULPRITS + line + TOTALS)
    assert "f" not in [name for name, _, _ in rows(verdict)]
    assert "too damaged to count" in told(verdict)


def test_culprits_that_hold_more_than_all_stacks_are_none(tmp_path: Path) -> None:
    """A spoilt digit: the stacks that were printed answer, and the lines are counted as damaged."""
    verdict = explained(tmp_path, CONSUMERS + CULPRITS.replace("173555", "873555") + TOTALS)
    assert rows(verdict) == [("take_shared [oomlab]", 11_614, 2)]
    assert "3 records" in told(verdict)


def test_a_part_is_never_larger_than_its_whole(tmp_path: Path) -> None:
    """A spoilt line that tells less than a single printed stack does not make the sum smaller."""
    verdict = explained(tmp_path, CONSUMERS + CULPRITS.replace("173555", "12") + TOTALS)
    assert rows(verdict)[0][1] >= 2 * 5_807
