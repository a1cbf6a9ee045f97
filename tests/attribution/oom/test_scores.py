"""The score of each process, against what kernels printed and whom they killed, in the corpus and the reports."""

from __future__ import annotations

import pytest

import oomscope
from oomscope.errors import OomscopeError
from oomscope.model.oom_analysis import OomAnalysis
from tests.support import captures

LOGS = sorted((*(captures.DATA / "corpus").glob("*.zst"), *(captures.DATA / "reports").glob("*.zst")))
# Kills whose victim is not the first by its row, and why: others were on their way out already (several kills in one
# report), a table of several columns that cannot be told apart, a page fault's kill of whoever asked.
FIRST_AT_LEAST = 0.93


@pytest.fixture(scope="module")
def scored() -> list[OomAnalysis]:
    """Every report whose table has scores and its victim."""
    found = []
    for path in LOGS:
        if b"oom_score_adj name" not in captures.text(path):
            continue
        try:
            events = oomscope.read(path).events
        except OomscopeError:
            continue
        found += [each.analysis for each in events if each.analysis.scores and each.analysis.event.victims]
    return found


def test_scores_are_those_that_kernels_printed(scored: list[OomAnalysis]) -> None:
    """`Kill process N (comm) score S or sacrifice child`, 2.6.36 to 4.18."""
    compared = 0
    for analysis in scored:
        ours = {score.process.pid: score for score in analysis.scores}
        for victim in analysis.event.victims:
            score = ours.get(victim.pid)
            if victim.score is None or score is None or "?" in score.process.values:
                continue
            compared += 1
            assert abs(score.per_mille - victim.score) <= 1, (victim, score)
    assert compared >= 5


def test_who_was_killed_scores_highest(scored: list[OomAnalysis]) -> None:
    """At least in 93 of 100 kills."""
    kills = first = 0
    for analysis in scored:
        victim = analysis.event.victims[0]
        if victim.pid not in {score.process.pid for score in analysis.scores}:
            continue
        kills += 1
        first += max(analysis.scores, key=lambda s: (not s.is_unkillable, s.points)).process.pid == victim.pid
    assert kills >= 25
    assert first >= FIRST_AT_LEAST * kills
