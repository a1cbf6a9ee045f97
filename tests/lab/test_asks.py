"""What the page allocator said at the edge of its watermarks, against what the same numbers say here.

Each question is show_mem()'s own text under a line in the form of warn_alloc(), then the answer: lab/module/asks.c.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

import pytest

from oomscope.attribution.oom.analysis import analyse
from oomscope.model.oom_analysis import OomAnalysis
from oomscope.sources.kernel_log.source import KernelLog
from tests.support.lab_cases import CASES, Case, each

ASKED = [case for case in CASES if case.scenario == "asks"]
ASKED_LEAST = 100  # of each kind
_QUESTION = re.compile(r"asks: (?!served|refused)(\S+)\n")
_ANSWER = re.compile(r"asks: (?:(refused)|served from (\S+))")


@cache
def answered(case: Case) -> list[tuple[str, OomAnalysis, str | None]]:
    """Each question: its kind, what its numbers say, and the zone that the kernel served it from or None."""
    text = case.text("asks")
    parser = KernelLog().parser(ranking_only=True)
    list(parser.batches([text.encode()]))
    kinds, answers = _QUESTION.findall(text), _ANSWER.findall(text)
    events = parser.notes.log.events
    assert len(kinds) == len(answers) == len(events) == 2000
    return [(kind, analyse(event), zone or None) for kind, event, (_, zone) in zip(kinds, events, answers, strict=True)]


def is_hidden(analysis: OomAnalysis) -> bool:
    """Whether it decides on 6.12, which takes off what is free of the highatomic reserve, and does not print that."""
    return (analysis.event.release or "").startswith("6.12.") and any(
        check.is_allowed and check.passes is None and check.highatomic_pages for check in analysis.zones
    )


@pytest.mark.parametrize("case", each(ASKED))
def test_the_allocator_says_what_its_numbers_say(case: Case) -> None:
    """Nothing is foretold wrongly; what is not foretold at all is so for the one reason above, on that kernel alone.

    There it is one in a hundred of all, and one in twenty of a kind: the questions lie nearer to the edge than requests
    do, and how many pages the reserve holds is the boot's.
    """
    asked, unknown, wrong = Counter[str](), Counter[str](), []
    for kind, analysis, zone in answered(case):
        asked[kind] += 1
        if analysis.is_served is None and is_hidden(analysis):
            unknown[kind] += 1
        elif analysis.is_served is not (zone is not None):
            wrong.append((kind, analysis.event.first_line, zone))
    assert wrong == []
    assert min(asked.values()) >= ASKED_LEAST
    assert len(asked) == 10
    assert unknown.total() <= asked.total() / 100
    assert {kind: count for kind, count in unknown.items() if count > asked[kind] / 20} == {}


@pytest.mark.parametrize("case", each(ASKED))
def test_both_answers_are_given_at_every_order(case: Case) -> None:
    """The questions are at the edge: of each kind and of each order some were served and some refused."""
    given = {(kind, zone is not None) for kind, _, zone in answered(case)}
    orders = {(analysis.event.asked.order, zone is not None) for _, analysis, zone in answered(case)}
    assert len(given) == 20
    assert orders == {(order, is_served) for order in range(5) for is_served in (False, True)}
