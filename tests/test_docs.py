from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

import oomscope
from oomscope import bounds
from oomscope.attribution.frame_rules import frame_rows
from oomscope.cli.explain import explain
from oomscope.sources import SOURCES
from release import picture
from tests.support.corpus import DISPUTED

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "website/pages").rglob("*.md"))]
COMMANDS = [
    (page, line[2:].partition("  #")[0])
    for page in PAGES
    for block in re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL)
    for line in block.splitlines()
    if line.startswith("$ oomscope") and "examples/" in line
]
PYTHON = [(page, block) for page in PAGES for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)]


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=[command for _, command in COMMANDS])
def test_every_command_in_the_docs_runs(page: Path, command: str) -> None:
    """Each command on the bundled capture ends with exit code 0 and prints an answer."""
    words = shlex.split(command)
    done = subprocess.run([sys.executable, "-m", *words], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, (page, done.stderr)
    assert done.stdout


@pytest.mark.parametrize(("page", "code"), PYTHON, ids=[f"{page.name}-{i}" for i, (page, _) in enumerate(PYTHON)])
def test_every_piece_of_python_in_the_docs_runs(page: Path, code: str) -> None:
    """Each code block runs as it stands, and what its comments say it prints it prints."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False, text=True)
    assert done.returncode == 0, (page, done.stderr)
    for comment in re.findall(r"^# (.*)$", code, re.MULTILINE):
        assert comment in done.stdout, (page, comment)


def test_the_first_screen_is_the_real_answer() -> None:
    """The README begins with a picture of an answer: what the command prints today, with nothing to load."""
    assert "docs/images/answer.svg" in PAGES[0].read_text().splitlines()[0]
    kept = picture.PICTURE.read_text()
    assert picture.picture() == kept, "python -m release.picture"
    assert 'url("' not in kept
    assert "href=" not in kept


def test_the_experiment_is_shown_as_it_was() -> None:
    """The console shown beside the patch's mail is that of the bundled capture, and its totals are the answer's."""
    page = (ROOT / "docs" / "experiment-2020.md").read_text()
    folder = ROOT / "examples" / "armed-6.12-arm64"
    console = zstandard.decompress((folder / "console.log.zst").read_bytes(), 1 << 24).decode().splitlines()
    shown = re.findall(r"^    (\[.*bpf_trace_printk: .*)$", page, re.MULTILINE)
    assert len(shown) > 15
    assert set(shown) <= {line.rstrip() for line in console}
    verdict = oomscope.explain(folder)
    assert verdict.greatest is not None
    culprit = verdict.culprits[0]
    for pages in (verdict.greatest.pages, culprit.pages):
        assert f"{pages:,} pages" in page


def test_every_option_is_in_the_guide() -> None:
    """The guide names every option of the command."""
    guide = (ROOT / "docs" / "guide" / "explain.md").read_text() + (ROOT / "README.md").read_text()
    options = [option for parameter in explain.params for option in parameter.opts if option.startswith("--")]
    assert [option for option in options if option not in guide and option != "--output"] == []


def test_every_format_has_its_page() -> None:
    """Each source is described by a page in docs/formats."""
    pages = "\n".join(page.read_text() for page in (ROOT / "docs" / "formats").glob("*.md"))
    for source in SOURCES:
        assert source.format in pages, source.format


def test_links_lead_somewhere() -> None:
    """Every relative link in the docs names a file that exists."""
    # The site's own pages are linked within the site: tests/website/test_site.py.
    for page in [
        *(each for each in PAGES if "website" not in each.parts),
        ROOT / "ARCHITECTURE.md",
        ROOT / "CONTRIBUTING.md",
    ]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), (page.name, target)


def test_every_rule_is_described() -> None:
    """docs/findings.md has a row for each rule."""
    text = (ROOT / "docs" / "findings.md").read_text()
    rules = {path.stem for path in (ROOT / "src/oomscope/verdict/rules").glob("*.py")} - {"__init__", "case"}
    assert {rule for rule in rules if f"| {rule} |" not in text} == set()


def test_every_oom_class_has_its_page() -> None:
    """docs/rules has a page for each file of verdict/oom that judges, and the list names every page."""
    judging = {path.stem for path in (ROOT / "src/oomscope/verdict/oom").glob("*.py")}
    judging -= {"__init__", "case", "classification", "consumers", "narrative", "why_this_victim"}
    pages = {path.stem for path in (ROOT / "docs" / "rules").glob("*.md")} - {"README"}
    assert pages == judging
    contents = (ROOT / "docs" / "rules" / "README.md").read_text()
    assert {page for page in pages if f"]({page}.md)" not in contents} == set()


def test_every_disputed_label_is_argued() -> None:
    """docs/corpus.md argues each label that we hold wrong, and no other."""
    text = (ROOT / "docs" / "corpus.md").read_text()
    assert set(re.findall(r"^\*\*(\S+)\*\*: labelled", text, re.MULTILINE)) == set(DISPUTED)


def test_figures_of_the_judged_stacks() -> None:
    """docs/culprits.md counts right and wrong culprits as the data does."""
    judged = (ROOT / "tests" / "data" / "culprits.tsv").read_text().splitlines()[1:]
    right = sum(line.split("\t")[2] == "right" for line in judged)
    assert f"| {len(judged)} | {right} | {len(judged) - right} |" in (ROOT / "docs" / "culprits.md").read_text()
    assert frame_rows()


def test_every_bound_is_in_the_docs() -> None:
    """docs/reliability.md has each bound of bounds.py, in its order, with its value."""
    rows = re.findall(r"^\| `([A-Z_]+)` \| ([\d,]+) \|", (ROOT / "docs" / "reliability.md").read_text(), re.MULTILINE)
    assert [(name, int(value.replace(",", ""))) for name, value in rows] == [
        (name, value) for name, value in vars(bounds).items() if name.isupper()
    ]


def test_every_file_that_the_architecture_names_is_there() -> None:
    """Paths of ARCHITECTURE.md and CONTRIBUTING.md, from the package or from the root of the project."""
    for page in ("ARCHITECTURE.md", "CONTRIBUTING.md"):
        named = re.findall(r"`(\w[\w/]*/[\w.-]+\.(?:py|tsv|md))`", (ROOT / page).read_text())
        assert len(named) > 15
        assert [n for n in named if not ((ROOT / "src/oomscope" / n).exists() or (ROOT / n).exists())] == [], page
