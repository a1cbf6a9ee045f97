"""Lines are passed over in one go: what is passed over must be nothing that could have begun an event."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import zstandard

from oomscope.sources.kernel_log import interest
from oomscope.sources.kernel_log.interest import OF_INTEREST, lines_of_interest
from oomscope.sources.kernel_log.prefixes import LogLine, without_prefixes
from oomscope.sources.kernel_log.report.beginnings import (
    begins_alone,
    begins_in_its_trace,
    is_left_of_a_kill,
    is_of_a_report,
    may_begin,
)
from oomscope.sources.kernel_log.report.header import is_sysrq_kill, opens

DATA = Path(__file__).parents[2] / "data"
TEXTS = sorted([*(DATA / "corpus").glob("*.log.zst"), *(DATA / "reports").glob("*.zst")])


def _begins(line: LogLine) -> str | None:
    return opens(line) or (begins_alone(line) if may_begin(line) else None)


BEGINNINGS = (_begins, is_of_a_report, is_left_of_a_kill, begins_in_its_trace, is_sysrq_kill)


def _text(path: Path) -> bytes:
    return zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read()


@pytest.fixture(scope="module")
def texts() -> list[bytes]:
    assert len(TEXTS) > 250
    return [_text(path) for path in TEXTS]


def test_every_line_that_may_begin_an_event_is_of_interest(texts: list[bytes]) -> None:
    """Whatever strangers published: a line that any of the forms takes for a beginning has one of the words."""
    passed_over = {
        line.text
        for text in texts
        for raw in text.split(b"\n")
        if OF_INTEREST.search(raw) is None
        for line in (without_prefixes(raw.rstrip(b"\r"), 1),)
        if any(begins(line) for begins in BEGINNINGS)
    }
    assert passed_over == set()


def test_a_stretch_has_the_lines_that_the_pattern_finds(texts: list[bytes]) -> None:
    """Line by line and in one go: the same."""
    for text in [*texts, b"", b"\n", b"OOM", b"OOM: ", b"\n\nCMA", b"x*1"]:
        lines = text.split(b"\n")
        assert lines_of_interest(text) == [at for at, line in enumerate(lines) if OF_INTEREST.search(line) is not None]


def test_bytes_of_chance_are_hardly_ever_looked_at() -> None:
    """Letters are four and different, and few lines without a word have them."""
    assert len(set(interest._LETTERS)) == len(interest._LETTERS)
    assert {len(letters) for letters in interest._LETTERS} == {4}
    assert lines_of_interest(random.Random(2020).randbytes(1 << 20).replace(b"*", b"+").replace(b"]", b")")) == []
