"""The answer in one line, for a chat or an alert."""

from __future__ import annotations

from oomscope.model.answer import NO_REPORT
from oomscope.model.verdict import Verdict


def render(verdict: Verdict) -> str:
    """The headline, and behind it the class and how sure it is, where an OOM was reported."""
    answer = verdict.answer
    label = "" if answer.oom_class == NO_REPORT else answer.oom_class
    behind = ", ".join(part for part in (label, answer.certainty) if part)
    line = " ".join(answer.headline.split())
    return f"{line} [{behind}]\n" if behind else f"{line}\n"
