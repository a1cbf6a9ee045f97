from __future__ import annotations

import re
import shutil
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

import oomscope
from oomscope.model.verdict import Verdict
from oomscope.report import json_report, kernel_log, terminal
from tests.support import captures, corpus
from tests.support.advice import misfits
from tests.support.corpus import DISPUTED, REPORTS, Report

RIGHT_AT_LEAST = 0.95


@cache
def verdict_on(name: str) -> Verdict:
    return oomscope.explain(corpus.path(name))


def _class_of(report: Report) -> str:
    oom = verdict_on(report.name).oom
    assert oom is not None
    return oom.oom_class


def _is_right(report: Report) -> bool:
    return _class_of(report) in report.classes


@pytest.mark.parametrize("report", REPORTS, ids=str)
def test_every_report_gets_its_class_or_stands_in_the_list_of_disputes(report: Report) -> None:
    """The primary class is the expert's, or the file is argued about in docs/corpus.md and has the class from there."""
    assert _class_of(report) in (DISPUTED.get(report.name), *report.classes)


def test_the_share_of_right_classes() -> None:
    """Disputes counted as wrong, at least 95 of 100 primary classes are the expert's."""
    assert sum(map(_is_right, REPORTS)) >= RIGHT_AT_LEAST * len(REPORTS)


def test_certainty_is_earned() -> None:
    """No certain class is wrong, and at least half of the right ones are certain."""
    told = Counter[tuple[bool, str | None]]()
    for report in REPORTS:
        oom = verdict_on(report.name).oom
        assert oom is not None
        told[_is_right(report), oom.certainty] += 1
    assert told[False, "certain"] == 0
    assert 2 * told[True, "certain"] >= sum(count for (right, _), count in told.items() if right)


@pytest.mark.parametrize("report", REPORTS, ids=str)
def test_every_report_can_be_shown(report: Report) -> None:
    """Each form of output comes, within 80 columns but for stacks and the report's own lines, and obeys no input."""
    verdict = verdict_on(report.name)
    text = terminal.render(verdict)
    for form in (text, json_report.render(verdict), kernel_log.render(verdict)):
        assert "\x1b" not in form
    assert max(map(len, text.splitlines())) <= terminal.WIDTH
    head, paragraph, *_ = text.split("\n\n")
    assert " ".join(head.split()).startswith(" ".join(verdict.answer.headline.split()))
    assert "\nOOM class: " in head
    assert paragraph
    assert misfits(verdict) == []


def test_the_name_of_a_file_is_no_input(tmp_path: Path) -> None:
    """A report under another's name gets its own class."""
    copy = tmp_path / "001-el6-sshd-java-swap-full.log.zst"
    shutil.copy(corpus.path("087-afl-memcg-v2-8GB-kernel-slab.log"), copy)
    oom = oomscope.explain(copy).oom
    assert oom is not None
    assert oom.oom_class == "memcg-limit"


_OPENS = re.compile(rb"invoked oom-killer: gfp|page allocation failure: ?order|vmemmap alloc failure: order")
FULL = sorted((corpus.CORPUS / "full").glob("*.log.zst"))


@pytest.mark.parametrize("path", FULL, ids=lambda path: path.name)
def test_events_are_found_where_they_are_in_whole_logs(path: Path) -> None:
    """Each header in a complete log is an event that begins on its line; others are memory states shown alone."""
    lines = captures.text(path).split(b"\n")
    headers = [number for number, line in enumerate(lines, 1) if _OPENS.search(line)]
    found = oomscope.explain(path).events
    assert [line.line for line in found if "show-mem" not in line.text] == headers
    assert headers


def test_the_index_of_whole_logs_is_whole() -> None:
    """Every complete log of the index is there."""
    listed = (corpus.CORPUS / "full" / "INDEX.tsv").read_text().splitlines()[1:]
    assert {path.name.removesuffix(".zst") for path in FULL} == {line.split("\t")[0] for line in listed}
