"""The culprits that a dying kernel added up itself, as the lab's 6.12 printed them, read back from its console."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import oomscope
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
    path.write_text("[   56.939710] Kernel panic - not syncing: System is deadlocked on memory\n" + text)
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
    told = [str(unknown.what) for unknown in verdict.absent]
    assert "the stacks of the culprits" in told
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


def test_modules_that_came_later_are_told(tmp_path: Path) -> None:
    """Helpers of theirs may be named: that is said where the claim is made."""
    verdict = explained(tmp_path, CONSUMERS + CULPRITS + LATER + TOTALS)
    assert any("loaded after it was armed" in because for finding in verdict.findings for because in finding.because)


@pytest.mark.parametrize(("doubt", "certainty"), [("", "likely"), ("not ", "possible")])
def test_an_estimate_is_called_one(tmp_path: Path, doubt: str, certainty: str) -> None:
    """One page of 64 was looked at: nothing is certain, and how exact it is stands among what is not known."""
    verdict = explained(tmp_path, CONSUMERS + CULPRITS + SAMPLED.format(doubt) + TOTALS)
    assert {f.certainty for f in verdict.findings if "take_shared" in f.claim} <= {certainty, "likely"}
    assert any("1 of 64 pages was looked at" in unknown.reason for unknown in verdict.absent)
    assert any("1,009 pages in 95 of 100" in unknown.reason for unknown in verdict.absent)


def test_a_part_is_never_larger_than_its_whole(tmp_path: Path) -> None:
    """A spoilt line that tells less than a single printed stack does not make the sum smaller."""
    verdict = explained(tmp_path, CONSUMERS + CULPRITS.replace("173555", "12") + TOTALS)
    assert rows(verdict)[0][1] >= 2 * 5_807
