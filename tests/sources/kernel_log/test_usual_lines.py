"""What is decided about a line in one go must be what the long way decides: over all that strangers published."""

from __future__ import annotations

import re

import pytest

from oomscope import bounds
from oomscope.model.oom_event import KILL
from oomscope.sources.kernel_log import prefixes
from oomscope.sources.kernel_log.interest import OF_INTEREST
from oomscope.sources.kernel_log.prefixes import LogLine, log_lines
from oomscope.sources.kernel_log.report.assembler import EventReader
from tests.sources.kernel_log.test_interest import TEXTS, _text

FIRST = b"sh invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0"


@pytest.fixture(scope="module")
def lines() -> list[bytes]:
    return sorted({raw for path in TEXTS for raw in _text(path).split(b"\n") if len(raw) <= bounds.LOG_LINE_BYTES})


def test_the_usual_forms_of_a_line_are_read_as_every_form_is(
    lines: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the lines go the short way, and nothing of them is read otherwise."""
    shortly = [list(log_lines(raw, 1)) for raw in lines]
    short = [raw for raw in lines if prefixes._USUAL.match(raw) or prefixes._BARE.match(raw)]
    assert len(short) > len(lines) / 2
    monkeypatch.setattr(prefixes, "_USUAL", re.compile(rb"\Zx"))
    monkeypatch.setattr(prefixes, "_BARE", re.compile(rb"\Zx"))
    assert [list(log_lines(raw, 1)) for raw in lines] == shortly


def test_no_section_that_has_words_takes_a_line_without(lines: list[bytes]) -> None:
    """Such sections are not asked for lines without a word of interest: none of them would have taken one."""
    first = LogLine(1, FIRST, None, None, None, is_stamped=False, is_quoted=False, length=len(FIRST))
    reader = EventReader(KILL, first)
    reader.take(first)
    asked = [section for section in reader._sections if section.has_words]
    taken = [
        (type(section).__name__, line.text)
        for raw in lines
        if OF_INTEREST.search(raw) is None
        for line in log_lines(raw, 1)
        for section in asked
        if line.text and line.text[0] in section.first_bytes and section.take(line.text, 1)
    ]
    assert len(asked) == 5
    assert taken == []
