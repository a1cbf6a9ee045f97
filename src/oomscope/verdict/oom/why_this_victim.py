"""Why the kernel chose whom it killed: by the scores of the task table's rows."""

from __future__ import annotations

from oomscope.model.oom_analysis import Score
from oomscope.model.oom_event import own_pages
from oomscope.verdict.oom.case import OomCase

_PROTECTED = -900  # kubelet gives its pods' sandboxes and critical pods -998 and -997


def why_this_victim(case: OomCase) -> str:
    """A sentence; empty where the table does not have the victim, or not all that it had."""
    event, scores = case.event, case.analysis.scores
    if not event.victims or event.victims[0].is_announced or not scores or "tasks" in event.left_out:
        return ""
    killable = [score for score in scores if not score.is_unkillable]
    chosen = next((score for score in killable if score.process.pid == event.victims[0].pid), None)
    if chosen is None:
        return ""
    best = killable[0]
    if chosen.points < best.points and chosen.per_mille < best.per_mille:
        return (
            f"By the table's rows {_named(best)} scores higher ({best.per_mille:,} against {chosen.per_mille:,} of "
            "1,000): it was on its way out already, or could not be killed there."
        )
    others = [score for score in killable if score is not chosen]
    following = f"; next would be {_named(others[0])} with {others[0].per_mille:,}" if others else ""
    had = f"{event.victims[0].comm} had the highest score, {chosen.per_mille:,} of 1,000"
    return f"{had}{_adjusted(chosen)}{following}{_spared(scores, chosen)}."


def _named(score: Score) -> str:
    return f"{score.process.comm} (pid {score.process.pid})"


def _adjusted(score: Score) -> str:
    adj = score.process.values.get("oom_score_adj", 0)
    return f" (oom_score_adj {adj} included)" if adj else ""


def _spared(scores: tuple[Score, ...], chosen: Score) -> str:
    """Who holds more and is protected."""
    larger = [
        score
        for score in scores
        if own_pages(score.process) > own_pages(chosen.process)
        and score.process.values.get("oom_score_adj", 0) <= _PROTECTED
    ]
    if not larger:
        return ""
    most = max(larger, key=lambda score: own_pages(score.process))
    return f"; {_named(most)} holds more and is protected (oom_score_adj {most.process.values['oom_score_adj']})"
