"""Whoever has an older Python is told in one line which is needed, and what gives it there."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from oomscope import old_python

ROOT = Path(__file__).parents[1]
RELEASES = {
    'ID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="8.10"\n': "dnf install python3.12, then make demo",
    'ID="amzn"\nID_LIKE="fedora"\nVERSION_ID="2023"\n': "dnf install python3.11, then make demo",
    'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="22.04"\n': "apt install python3.11 python3.11-venv, then",
    'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="20.04"\n': "deadsnakes",
    'ID="opensuse-leap"\nID_LIKE="suse opensuse"\nVERSION_ID="15.6"\n': "zypper install python311",
    'ID=debian\nVERSION_ID="11"\n': "uv python install 3.12, then make demo PYTHON=python3.12",
    'ID="centos"\nVERSION_ID="7"\n': "uv python install 3.12",
    "": "uv python install 3.12",
}


@pytest.mark.parametrize("release", RELEASES)
def test_one_line_says_what_to_do(release: str) -> None:
    """By /etc/os-release, or in a way that works everywhere."""
    line = old_python.refusal((3, 9, 2), release)
    assert line.startswith("oomscope needs Python 3.11 or later, and this is 3.9: ")
    assert RELEASES[release] in line
    assert "\n" not in line


def test_older_pythons_can_read_what_they_are_told() -> None:
    """Both files that they meet first are of the syntax of 3.7 at most, the refusal itself of 3.5."""
    ast.parse((ROOT / "src/oomscope/old_python.py").read_text(), feature_version=(3, 5))
    ast.parse((ROOT / "src/oomscope/__init__.py").read_text(), feature_version=(3, 7))


def test_nothing_is_downloaded_before_it_is_told(tmp_path: Path) -> None:
    """`make demo` with an older Python ends at once, with that line first."""
    for name in ("Makefile", "pyproject.toml", "requirements-dev.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "src" / "oomscope").mkdir(parents=True)
    text = (ROOT / "src/oomscope/old_python.py").read_text().replace("NEEDED = (3, 11)", "NEEDED = (9, 9)")
    (tmp_path / "src" / "oomscope" / "old_python.py").write_text(text)
    # As a user starts it: a make around these tests would hand its flags down, and warn of them first.
    outside = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    done = subprocess.run(["make", "demo"], cwd=tmp_path, capture_output=True, text=True, check=False, env=outside)
    assert done.returncode != 0
    assert done.stderr.splitlines()[0].startswith("oomscope needs Python 9.9 or later, and this is 3.")
    assert not (tmp_path / ".venv").exists()


def test_a_broken_environment_mends_itself(tmp_path: Path) -> None:
    """One whose Python is gone is taken away, before anything is made in it."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to("/usr/bin/python-that-was")
    subprocess.run(["make", "-n", "clean"], cwd=tmp_path, capture_output=True, check=False)
    assert not (tmp_path / ".venv").exists()
