"""What a triage says first: how many cases are explained, and by what."""

from __future__ import annotations

from oomscope.model.answer import BY_REPORT, BY_STACKS, LACKING, UNDETERMINED
from oomscope.model.triage import Cluster, Triage
from oomscope.units import counted, pages_text


def sentence(triage: Triage) -> str:
    """How many cases the report alone explains, and how many take page owner data, had and not had."""
    told = triage.cases - triage.failed
    if not told:
        return f"No case could be explained, of {triage.cases:,}"
    answers = triage.answers
    parts = [f"{answers[BY_REPORT]:,} of {told:,} explained by the report alone"]
    if answers[BY_STACKS]:
        parts.append(f"{answers[BY_STACKS]:,} by page_owner data")
    if answers[LACKING]:
        parts.append(f"{answers[LACKING]:,} {'needs' if answers[LACKING] == 1 else 'need'} page_owner data")
    if answers[UNDETERMINED]:
        parts.append(
            f"{counted(answers[UNDETERMINED], 'log')} {'is' if answers[UNDETERMINED] == 1 else 'are'} incomplete"
        )
    return "; ".join(parts)


def failures(triage: Triage) -> str:
    """How many cases stand in the result with a reason instead of an answer; empty for none."""
    if not triage.failed:
        return ""
    return f"Not explained: {triage.failed:,} of {triage.cases:,}; each stands in the result with its reason"


def amounts(cluster: Cluster) -> str:
    """How many cases, of how many inputs where those are fewer, and how many pages as far as they are told."""
    text = counted(cluster.cases, "case")
    if cluster.inputs < cluster.cases:
        text += f" of {counted(cluster.inputs, 'input')}"
    if cluster.pages is None:
        return text
    return f"{text}, {pages_text(cluster.pages)}" + (
        f" in all, at most {cluster.most_pages:,} in one" if cluster.cases > 1 else ""
    )


def minute(time: str | None) -> str:
    """A time in ISO 8601 as people read it, to the minute; empty for none."""
    return "" if time is None else time[:16].replace("T", " ")
