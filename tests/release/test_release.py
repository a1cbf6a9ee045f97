"""What a release asks of itself; `make release` makes one, and CI installs it."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import oomscope
from release.__main__ import OBJECTS, PARTS, ROOT, NotReleasable, check, notes_of, version_of

CHANGELOG = """# Changelog

## [Unreleased]

- later

## [1.2.3] - 2026-01-02

### Added

- this

## [1.2.2] - 2025-01-02
- old
"""


def test_the_version_stands_in_one_place() -> None:
    """The release takes it from there."""
    assert version_of((ROOT / "src/oomscope/__init__.py").read_text()) == oomscope.__version__
    with pytest.raises(NotReleasable):
        version_of("")


def test_notes_are_the_changelogs_entry() -> None:
    """A version without an entry, or with an empty one, is no release."""
    assert notes_of(CHANGELOG, "1.2.3") == "### Added\n\n- this\n"
    for version in ("1.2.4", "Unreleased", "1.2"):
        with pytest.raises(NotReleasable, match="has no entry"):
            notes_of(CHANGELOG, version)
    assert notes_of((ROOT / "CHANGELOG.md").read_text(), oomscope.__version__)


def test_a_wheel_without_programs_is_refused(tmp_path: Path) -> None:
    """Whatever else is in it; and a source distribution that could not build."""
    wheel, source = tmp_path / "x.whl", tmp_path / "x.tar.gz"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(OBJECTS[0], b"")
    with pytest.raises(NotReleasable, match=r"panic_report\.arm64\.o"):
        check(source, wheel)
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr(OBJECTS[1], b"")
    with tarfile.open(source, "w:gz") as tar:
        for name in PARTS[1:]:
            tar.addfile(tarfile.TarInfo(f"x/{name}"), io.BytesIO())
    with pytest.raises(NotReleasable, match="Makefile"):
        check(source, wheel)


def test_a_build_without_clang_refuses_a_wheel_that_cannot_arm(tmp_path: Path) -> None:
    """And says what to do; one that only explains has to be asked for."""
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "Makefile"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("*.o", "__pycache__"))
    asks = "import sys; sys.path.insert(0, '.'); import hatch_build as b; h = object.__new__(b.CustomBuildHook); "
    asks += "type(h).root = property(lambda self: '.'); h.initialize('standard', {})"
    env = {"PATH": str(tmp_path / "nowhere"), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", asks], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "a package without them cannot arm: install clang, llvm and libbpf-dev" in done.stderr
    env["OOMSCOPE_WITHOUT_BPF"] = "1"
    assert subprocess.run([sys.executable, "-c", asks], cwd=tmp_path, env=env, check=False).returncode == 0
    assert os.path.lexists(tmp_path / "src")
