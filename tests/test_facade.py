from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import oomscope
from tests.support import captures


def test_all_is_sorted_and_complete() -> None:
    """`__all__` is sorted, and everything in it can be had."""
    assert sorted(oomscope.__all__) == oomscope.__all__
    for name in oomscope.__all__:
        assert getattr(oomscope, name) is not None


def test_no_other_names() -> None:
    """A name that is not there is an AttributeError as anywhere."""
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = oomscope.nothing


def test_read_returns_evidence_and_explain_a_verdict() -> None:
    """The two functions do what the command does and return typed objects."""
    evidence = oomscope.read(captures.CASE_6_12)
    verdict = oomscope.explain(captures.CASE_6_12)
    assert isinstance(evidence, oomscope.Evidence)
    assert isinstance(verdict, oomscope.Verdict)
    assert evidence.ram_pages == verdict.ram_pages == 122_923
    assert verdict.greatest is not None
    assert (verdict.greatest.pages, str(verdict.greatest.holding.culprit)) == (35_072, "leak_mb_write [leak]")


def test_importing_the_package_costs_nothing() -> None:
    """`import oomscope` loads neither NumPy nor the pipeline."""
    code = "import oomscope, sys; assert not {'numpy', 'click', 'oomscope.pipeline.api'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_version_is_the_projects() -> None:
    """It stands in one place, from which the build takes it."""
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    assert "version" not in project
    assert project["dynamic"] == ["version"]
    assert metadata.version("oomscope") == oomscope.__version__


def test_errors_carry_exit_code_and_advice() -> None:
    """Every error of the tree has the documented exit code."""
    assert {
        error.__name__: error.exit_code
        for error in (
            oomscope.NothingToExplain,
            oomscope.BadQuestion,
            oomscope.Unreadable,
            oomscope.NoAccess,
        )
    } == {"NothingToExplain": 1, "BadQuestion": 2, "Unreadable": 3, "NoAccess": 4}
    assert issubclass(oomscope.NoAccess, oomscope.OomscopeError)
