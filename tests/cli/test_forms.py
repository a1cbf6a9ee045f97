"""How an answer is asked for, and the forms it comes in: in a line, as Markdown, by the name of a file, unwrapped."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import oomscope
from oomscope.cli import cli
from oomscope.cli.forms import chosen
from oomscope.report import markdown, short
from tests.support import captures, corpus

LOG = corpus.path("058-journald-llvm-tblgen-hyperv.log")
HEADLINE = oomscope.explain(LOG).answer.headline


@pytest.fixture(autouse=True)
def _no_width_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


def said(*words: str | Path) -> str:
    """What the command prints where nobody sees it."""
    done = CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_a_file_in_the_place_of_a_command_is_explained() -> None:
    """With its options; so are a folder and standard input."""
    assert said(LOG).startswith(HEADLINE)
    assert json.loads(said(captures.CASE_6_12, "--format", "json"))["answer"]["headline"]
    done = CliRunner().invoke(cli, ["-"], input=b"nothing of any kind\n" * 3)
    assert "no kind that is known" in str(done.exception)


def test_a_commands_name_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file `help` is `./help`."""
    monkeypatch.chdir(tmp_path)
    Path("help").write_text("any")
    assert "guide: " in said("help")
    done = CliRunner().invoke(cli, ["nosuch"])
    assert (done.exit_code, "nosuch: neither a command nor a file" in done.output) == (2, True)


@pytest.mark.parametrize(
    ("asked", "output", "form"),
    [
        (None, None, "text"),
        (None, "a.html", "html"),
        (None, "b/A.JSON", "json"),
        (None, "a.md", "markdown"),
        (None, "a.txt", "text"),
        (None, "json", "text"),
        ("text", "a.html", "text"),
    ],
)
def test_the_name_of_the_file_chooses_the_form(asked: str | None, output: str | None, form: str) -> None:
    """Unless a form is asked for."""
    assert chosen(asked, output, ("text", "json", "html", "markdown")) == form


def test_a_form_that_is_not_offered_is_not_chosen() -> None:
    """`diff` has no Markdown."""
    assert chosen(None, "a.md", ("text", "json")) == "text"


def test_files_of_each_name_have_their_form(tmp_path: Path) -> None:
    """The page, JSON and Markdown by name alone; with --format another one."""
    for name, begins in (("a.html", "<!doctype"), ("a.json", "{"), ("a.md", "**"), ("a.txt", HEADLINE)):
        said(LOG, "-o", tmp_path / name)
        assert (tmp_path / name).read_text().lower().startswith(begins.lower())
    said(LOG, "-o", tmp_path / "b.json", "--format", "short")
    assert (tmp_path / "b.json").read_text().startswith(HEADLINE)


@pytest.mark.parametrize("path", [LOG, captures.CASE_6_12])
def test_the_short_form_is_the_headline_in_one_line(path: Path) -> None:
    """And how sure it is."""
    verdict = oomscope.explain(path)
    (line,) = short.render(verdict).splitlines()
    assert line.startswith(verdict.answer.headline)
    assert verdict.answer.certainty is None or line.endswith(f"{verdict.answer.certainty}]")


def test_markdown_has_every_row_of_the_balance_and_the_lines_it_names() -> None:
    """As a table; a finding names a line by its number, which stands above as the log has it."""
    verdict = oomscope.explain(LOG)
    text = markdown.render(verdict)
    assert verdict.balance is not None
    assert verdict.oom is not None
    assert verdict.oom.analysis is not None
    for row in verdict.balance.rows:
        assert re.search(rf"^\|.*\| {row.pages:,} \|.*\| {re.escape(row.kind)}", text, re.MULTILINE)
    cited = re.findall(r"^(\d+): (.*)$", text, re.MULTILINE)
    assert cited
    assert all(verdict.oom.analysis.event.texts[int(number)] == line for number, line in cited)


def test_markdown_shows_names_as_they_are() -> None:
    """What a log says is no mark-up, and no fence ends within it."""
    assert markdown._plain("a*b_c_ |x| <b>`d`") == r"a\*b_c\_ \|x\| \<b\>\`d\`"
    assert markdown._code(["```", "x"]).startswith("````\n```\nx\n````")


def test_nothing_is_wrapped_into_a_pipe() -> None:
    """A line a sentence for `grep`; COLUMNS asks for a width, and a terminal has its own up to 120."""
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    command = [sys.executable, "-m", "oomscope", str(LOG)]
    piped = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    narrow = subprocess.run(command, capture_output=True, text=True, check=True, env={**environment, "COLUMNS": "60"})
    assert piped.splitlines()[0] == HEADLINE
    assert max(map(len, piped.splitlines())) > 120
    assert max(map(len, narrow.stdout.splitlines()[:3])) <= 60
    assert piped.split() == narrow.stdout.split() or "…" not in narrow.stdout


def test_a_triages_file_chooses_its_form_too(tmp_path: Path) -> None:
    """And its text is not wrapped into a file."""
    (tmp_path / "fleet").mkdir()
    (tmp_path / "fleet" / "kern.log.zst").write_bytes(LOG.read_bytes())
    said("triage", tmp_path / "fleet", "--no-cache", "-o", tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text())["counts"]["cases"] == len(oomscope.explain(LOG).events)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--page-size", "65536"), "--page-size changed nothing: the report's own numbers show pages of 4,096 bytes"),
        (("--vmlinux", "LICENSE"), "--vmlinux changed nothing: no input is a core dump"),
        (("--min-pages", "9"), "the filter changed nothing: it chooses among stacks, and this input has none"),
        ((), ""),
    ],
)
def test_an_option_that_means_nothing_is_said(options: tuple[str, ...], said: str) -> None:
    """On standard error; the answer is the one without it."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "oomscope", "explain", "examples/kill-4.18.log"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True, cwd=root)
    plain = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.splitlines()[:3] == plain.stdout.splitlines()[:3]
    assert (said in done.stderr) if said else not done.stderr
