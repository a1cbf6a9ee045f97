"""The lab itself, as far as it needs neither QEMU nor a kernel."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lab import build, cache, case, debian, host, matrix, results, ways, witnesses
from lab.errors import LabError, Missing
from lab.kernels import ARM64, KERNELS, X86_64, from_source
from lab.matrix import Outcome
from lab.scenarios import SCENARIOS
from tests.support import captures

ROOT = Path(__file__).parents[2]


def test_a_machine_without_qemu_and_compilers_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence names the packages, those of the architectures asked for and no others."""
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(Missing) as missing:
        host.require({X86_64})
    sentence = str(missing.value)
    assert sentence.count("\n") == 0
    assert "apt-get install" in sentence
    assert {"qemu-system-x86", "gcc", "flex", "dwarves"} <= set(sentence.split())
    assert "qemu-system-arm" not in sentence
    assert "qemu-system-arm" in host.missing_packages({ARM64})


@pytest.mark.parametrize("arguments", [("run", "-k", "2.4"), ("run", "-s", "nothing"), ("build", "-k", "2.4")])
def test_an_unknown_name_is_one_sentence(arguments: tuple[str, ...]) -> None:
    """A kernel or scenario that is not there ends in a sentence that says what is, not in a traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "lab", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert re.fullmatch(r"lab: no (kernel|scenario) [^\n]+\n", done.stderr)


def test_counts_are_primes() -> None:
    """No number of a scenario comes out right by accident."""
    for scenario in SCENARIOS:
        for count in map(int, re.findall(r"(?:take|hold|eat) \w+ (\d+)", scenario.script)):
            assert count > 1
            assert all(count % divisor for divisor in range(2, int(count**0.5) + 1)), (scenario.name, count)


def test_a_default_kernel_names_default_scenarios() -> None:
    """What a kernel picks of the default matrix is in it."""
    default = {scenario.name for scenario in SCENARIOS if scenario.default}
    for kernel in KERNELS:
        assert set(kernel.default_scenarios or ()) <= default, kernel.name


def test_the_manual_has_every_kernel_and_scenario() -> None:
    """docs/lab.md says of each what it proves; a shortened name goes with the one before it."""
    manual = (ROOT / "docs" / "lab.md").read_text()
    for name in (*(kernel.name for kernel in KERNELS), *(scenario.name for scenario in SCENARIOS)):
        base, _, number = name.rpartition("-")
        assert name in manual or (base in manual and f"-{number}" in manual), name
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)


def test_the_table_of_ways_says_tried_failed_expected_and_why_not() -> None:
    """A way with a test that failed is not tried; what a kernel has not, and what nobody ran, is said."""
    outcomes = [
        Outcome("6.12", "page-panic", 3, None),
        Outcome("6.12", "armed-page-panic", 3, None),
        Outcome("6.12", "tracked-page-panic", 3, None),
        Outcome("6.12", "tracked-kill", 3, "it hung"),
        Outcome("5.10-bullseye", "pipe-panic", 3, None),
    ]
    lines = ways.table(outcomes, [("6.12", "armed-page-panic")]).splitlines()
    rows = {line.split(" | ")[0].strip("| "): line.strip("| ").split(" | ")[1:] for line in lines if "|" in line}
    assert rows["6.12"] == ["tried (1)", "tried (1)", "untried", "1 of 1 FAIL", "1 of 2 FAIL", "untried", "untried"]
    not_built_in, too_old = "no: page_owner is not built in", "no: before 5.13"
    assert rows["5.10-bullseye"] == ["tried (1)", not_built_in, "tried (1)", too_old, too_old, "untried", "untried"]
    assert rows["RHEL 9 and rebuilds (5.14)"] == ["expected"] * 7
    assert rows["RHEL 8 and rebuilds (4.18)"][-1] == "no: before 5.4"
    assert rows["Ubuntu 24.04 (6.8)"][-1] == "expected, tracked"
    assert rows["Android GKI (5.15)"][-2:] == ["no: kexec is not built in"] * 2
    assert "6.1" not in rows


def test_a_tree_of_ones_own_is_a_kernel(tmp_path: Path) -> None:
    """By its Makefile; a folder that holds none is one sentence."""
    (tmp_path / "Makefile").write_text(
        "# SPDX-License-Identifier: GPL-2.0\nVERSION = 5\nPATCHLEVEL = 15\nSUBLEVEL = 9\n"
    )
    kernel = from_source(tmp_path)
    assert (kernel.name, kernel.can_be_armed, kernel.source) == ("5.15-source", True, tmp_path)
    with pytest.raises(LabError, match="is no source tree of Linux"):
        from_source(tmp_path / "nothing")


def test_the_table_shows_what_failed(tmp_path: Path) -> None:
    """A case that was not captured and a test that failed stand in the table and, in words, below it."""
    results.save(
        [Outcome("6.1", "page-panic", 3, None), Outcome("6.1", "numa", 3, "it hung\nlast words")], tmp_path / "o"
    )
    results.save([Outcome("6.12", "page-panic", 4, None)], tmp_path / "o")
    (tmp_path / "o").rename(tmp_path / "outcomes.json")
    (tmp_path / "tests.xml").write_text(
        """<testsuites><testsuite>
        <testcase name="a"><properties><property name="case" value="6.1/page-panic"/>
        <property name="explained" value="take_page 7"/></properties></testcase>
        <testcase name="b"><properties><property name="case" value="6.12/page-panic"/></properties>
        <failure message="no"/></testcase>
        </testsuite></testsuites>"""
    )
    table = results.table(tmp_path, tmp_path / "tests.xml")
    assert "| page-panic | take_page 7<br>1 passed | 0 passed, 1 FAILED |" in table
    assert "| numa | not captured |  |" in table
    assert "- 6.1, numa: it hung\n" in table
    assert "- 6.12, page-panic: b\n" in table


def test_a_tool_that_fails_costs_its_own_case_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of the host that fails in one case is told as that case's error; the run goes on."""

    def fails(*_: object) -> None:
        raise subprocess.CalledProcessError(1, "mke2fs")

    monkeypatch.setattr(case, "run", fails)
    built = build.Built(KERNELS[0], tmp_path, tmp_path, None, (), "6.1.0", "6.1.0-1")
    outcomes = matrix.run([(built, SCENARIOS[0]), (built, SCENARIOS[1])], tmp_path, lambda _: None)
    assert ["mke2fs" in str(outcome.error) for outcome in outcomes] == [True, True]


def test_room_is_made_of_what_can_be_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels of older configurations go, those that are needed stay; where there is room, all stays."""
    monkeypatch.setattr(cache, "CACHE", tmp_path)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    needed, older = tmp_path / "kernels" / "6.12_1_new", tmp_path / "kernels" / "6.12_1_old"
    modules = tmp_path / "modules" / "6.12_1_old_abc"
    for folder in (needed, older, modules):
        folder.mkdir(parents=True)
    assert cache.make_room(0, [needed / "bzImage"]) == []
    assert older.exists()
    assert cache.make_room(1 << 60, [needed / "bzImage"]) == [older, modules]
    assert (needed.exists(), older.exists(), modules.exists()) == (True, False, False)


def test_the_guests_wheels_are_pinned_as_pip_takes_it() -> None:
    """Pip refuses a constraint with extras; a machine whose cache has the guests' roots never asks it."""
    pinned = debian.constraints()
    assert "[" not in pinned
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--constraint=/dev/stdin", "pip"],
        input=pinned,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_table_of_witnesses_has_what_explain_says(tmp_path: Path) -> None:
    """A capture's text and its show_stacks in one row: the kernel's own difference is the early pages."""
    folder = tmp_path / "6.12" / "page-panic" / "taken"
    folder.mkdir(parents=True)
    shutil.copy(captures.AFTER_6_12, folder / "page_owner.zst")
    shutil.copy(captures.SHOW_STACKS, folder / "show_stacks.zst")
    (row,) = [line for line in witnesses.table(tmp_path).splitlines() if line.startswith("| 6.12 ")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:2] == ["6.12", "page-panic"]
    assert cells[3] == "text beside show_stacks"
    assert "early pages +" in cells[5]
    assert int(cells[2].replace(",", "")) > int(cells[4].replace(",", ""))
