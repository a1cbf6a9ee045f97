from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

import oomscope
from oomscope.report import json_report, kernel_log, terminal
from oomscope.verdict import Question
from tests.support import captures
from tests.support.transcriptions import ORDINARY, linux_6_12

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(scope="module")
def verdict() -> oomscope.Verdict:
    return oomscope.explain(captures.CASE_6_12)


def test_the_answer_comes_first(verdict: oomscope.Verdict) -> None:
    """The first line names the culprit, its pages, bytes and share of RAM."""
    first = terminal.render(verdict).splitlines()[0]
    assert first == "leak_mb_write [leak] holds 137.0 MiB (35,072 pages), 28.5 % of RAM"


def test_eighty_columns(verdict: oomscope.Verdict) -> None:
    """Nothing but the kernel's own frames is wider than 80 columns."""
    lines = terminal.render(verdict, top=500).splitlines()
    wide = [line for line in lines if len(line) > 80 and "+0x" not in line]
    assert wide == []


def test_colour_only_adds_escapes(verdict: oomscope.Verdict) -> None:
    """The coloured report is the plain one with colours."""
    plain, coloured = terminal.render(verdict), terminal.render(verdict, colour=True)
    assert "\x1b" not in plain
    assert "\x1b[" in coloured
    assert [line.rstrip() for line in ESCAPE.sub("", coloured).splitlines()] == plain.splitlines()


def test_the_balance_adds_up_to_ram(verdict: oomscope.Verdict) -> None:
    """The rows of the balance and its remainder are all pages of RAM."""
    assert verdict.balance is not None
    rows = sum(row.pages for row in verdict.balance.rows)
    assert rows + verdict.balance.unexplained_pages == verdict.balance.ram_pages == 491_692 // 4
    assert "unexplained" in terminal.render(verdict)


def test_groups_take_the_place_of_the_rankings() -> None:
    """With a grouping asked for, its table is shown."""
    text = terminal.render(oomscope.explain(captures.AFTER_6_12, question=Question(by="comm")))
    assert "By comm:" in text
    assert re.search(r"35,\d{3}.*\bsh$", text, re.MULTILINE)


@pytest.mark.parametrize(
    "hostile", [b"\x1b[31mred", b"[bold]x[/bold]", b"\x07\x08", b"\xff\xfe", b"a\nb", "\u202e".encode()], ids=repr
)
def test_hostile_names_appear_as_text(tmp_path: Path, hostile: bytes) -> None:
    """Escapes, markup, bells, invalid UTF-8 and direction marks in a comm or memcg are shown, never obeyed."""
    record = linux_6_12(replace(ORDINARY, comm=hostile[:15], memcg=hostile.replace(b"\n", b"")))
    path = tmp_path / "dump"
    path.write_bytes(record * 70)
    verdict = oomscope.explain(path, question=Question(by="comm"))
    assert verdict.counted_pages == 70
    for text in (
        terminal.render(verdict),
        terminal.render(oomscope.explain(path)),
        json_report.render(verdict),
        kernel_log.render(verdict),
    ):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
    if hostile.startswith(b"["):
        assert hostile.decode()[:15] in terminal.render(verdict)


def test_a_hostile_symbol_appears_as_text(tmp_path: Path) -> None:
    """A frame that holds an escape sequence is shown with it spelt out, in every format."""
    path = tmp_path / "show_stacks"
    path.write_bytes(b" evil\x1bc<script>+0x1/0x2 [m\x9b]\nnr_base_pages: 7\n\n")
    verdict = oomscope.explain(path)
    for text in (terminal.render(verdict), json_report.render(verdict), kernel_log.render(verdict)):
        assert "\x1b" not in text
        assert "\x9b" not in text
        assert "<script>" in text
