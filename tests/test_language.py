"""How oomscope speaks: sizes before pages, nothing claimed that was not seen; a reviewed list of patterns.

What is quoted from a log, keys of JSON and names in code are exempt.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import oomscope
from oomscope.cli import cli
from oomscope.report import markdown, short, terminal

ROOT = Path(__file__).parents[1]
CORPUS = ROOT / "tests/data/corpus"
# What is not said, and what is said instead.
INSTEAD = {
    r"of memory of their own": "process memory (anonymous): SIZE",
    r"in no counter": "unaccounted for, not counted",
    r"used up": "exhausted",
    r"file contents hold": "page cache: SIZE",
    r"gave back|gives none of that back": "freed, frees",
    r"if it comes back, bound": "If it recurs, limit",
    r"cannot tell": "the log does not show",
    r"that it could have had": "still free",
    r"so that it has a name next time": "to identify it next time",
    r"the input tells of": "there is only",
    r"taken in one go|in one go|held ever since": "one burst, still held",
    r"refuted by": "would be wrong if",
    r"\bmend(?:s|ed|ing)?\b": "fix",
    r"colours as the system": "theme: system",
    r"[Ee]very page frame": "claims what a log does not show",
    r"nothing was lost": "claims what was not checked",
    r"\ba \w+ pages\b(?! of| in)": "a number",
    r"\d{1,3},\d{3}\.\d{3} s\b": "seconds without separators: they are searched for in the log",
    r"\d pages \(\d(?![^)]*with pages of)": "SIZE (PAGES)",
    r"This is (?:certain|likely|possible)\.": "Certain.",
}
# A headline says who or what, how much or why; a class is a label under it, not the headline.
_CLASSES = (
    r"\b(?:user-anon|memcg-limit|hidden-kernel|atomic-reserve|lowmem-zone|kernel-stacks-pagetables|vmalloc-space)\b"
)


def wrong(text: str) -> list[str]:
    """What a text has of the list, each with what it should be."""
    told = [line for line in text.splitlines() if not re.match(r"\s*because |.*\bline \d+: ", line)]
    return [f"{match[0]!r}: {good}" for bad, good in INSTEAD.items() for match in re.finditer(bad, "\n".join(told))]


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.zst")), ids=lambda path: path.name[:30])
def test_answers(path: Path) -> None:
    """As text, as Markdown, as one line: none has a pattern of the list."""
    try:
        verdict = oomscope.explain(path)
    except oomscope.OomscopeError as error:
        assert wrong(str(error)) == []
        return
    for text in (terminal.render(verdict, width=10_000), markdown.render(verdict), short.render(verdict)):
        assert wrong(text) == []
    headline = verdict.answer.headline
    assert re.search(_CLASSES, headline) is None
    event = None if verdict.oom is None or verdict.oom.analysis is None else verdict.oom.analysis.event
    if event is not None and event.stamp is not None:
        assert f"({event.stamp.strip()})" in headline
    elif event is not None and event.at_ns is not None:
        assert f"{event.at_ns / 10**9:.6f} s after boot" in headline


@pytest.mark.parametrize("path", sorted((ROOT / "tests/golden").glob("*.txt")), ids=lambda path: path.stem)
def test_reviewed_texts(path: Path) -> None:
    """The golden ones."""
    assert wrong(path.read_text()) == []


@pytest.mark.parametrize("command", ["", *cli.commands])
def test_help(command: str) -> None:
    """Of every command; no summary is cut."""
    asked = [sys.executable, "-m", "oomscope", *command.split(), "--help"]
    done = subprocess.run(asked, capture_output=True, text=True, check=True, cwd=ROOT)
    assert wrong(done.stdout) == []
    if not command:
        summaries = done.stdout.partition("Commands:")[2]
        assert "..." not in summaries


@pytest.mark.parametrize("path", sorted((ROOT / "docs").rglob("*.md")), ids=lambda path: path.name)
def test_pages(path: Path) -> None:
    """Prose outside of code."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", path.read_text(), flags=re.DOTALL)
    assert wrong(text) == []
