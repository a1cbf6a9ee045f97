"""A release from a clean checkout: built twice and equal, checked, with its checksums and its notes.

    python -m release [--out dist]

The source distribution is built from the checkout, the wheel from the source distribution, each in two places. Nothing
is published: .github/workflows/release.yml does that for a tag.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
OBJECTS = tuple(f"oomscope/host/bpf/panic_report.{architecture}.o" for architecture in ("x86_64", "arm64"))
# Without these a source distribution can neither build nor test.
PARTS = (
    "Makefile",
    "requirements-dev.txt",
    "hatch_build.py",
    "tests/data/corpus/INDEX.tsv",
    "lab/guest/init",
    "lint/sizes.py",
)


class NotReleasable(Exception):
    """Why there is no release, in one sentence."""


def main() -> int:
    """Make it; 1 where something is not as a release must be."""
    asked = argparse.ArgumentParser(prog="python -m release")
    asked.add_argument("--out", type=Path, default=ROOT / "dist")
    out: Path = asked.parse_args().out
    try:
        made = release(out)
    except NotReleasable as problem:
        print(f"release: {problem}", file=sys.stderr)
        return 1
    for path in made:
        print(f"{path.stat().st_size:>12,}  {path.name}")
    return 0


def release(out: Path) -> list[Path]:
    """The files of the release in `out`. Raises NotReleasable."""
    version = version_of((ROOT / "src/oomscope/__init__.py").read_text())
    notes = notes_of((ROOT / "CHANGELOG.md").read_text(), version)
    with tempfile.TemporaryDirectory(prefix="oomscope-release-") as work:
        first, second = (build(Path(work, name)) for name in ("one", "another/place"))
        for one, other in zip(first, second, strict=True):
            if one.name != other.name or one.read_bytes() != other.read_bytes():
                raise NotReleasable(f"two builds differ: {one.name}")
        check(*first)
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        made = [Path(shutil.copy(path, out)) for path in first]
    sums = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in made)
    (out / "SHA256SUMS").write_text(sums)
    (out / "NOTES.md").write_text(notes)
    return [*made, out / "SHA256SUMS", out / "NOTES.md"]


def version_of(source: str) -> str:
    """The version, from the one place where it stands."""
    found = re.search(r'^__version__ = "([^"]+)"$', source, re.MULTILINE)
    if found is None:
        raise NotReleasable("src/oomscope/__init__.py has no __version__")
    return found[1]


def notes_of(changelog: str, version: str) -> str:
    """The changelog's entry of a version, which a release must have."""
    found = re.search(
        rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL
    )
    if found is None or not found[1].strip():
        raise NotReleasable(f"CHANGELOG.md has no entry `## [{version}] - YYYY-MM-DD` with anything in it")
    return found[1].strip() + "\n"


def build(folder: Path) -> tuple[Path, Path]:
    """The source distribution and the wheel that is built from it."""
    folder.mkdir(parents=True)
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)], check=True, stdout=subprocess.DEVNULL
    )
    (source,) = folder.glob("*.tar.gz")
    (wheel,) = folder.glob("*.whl")
    return source, wheel


def check(source: Path, wheel: Path) -> None:
    """That both are whole, and that the tools of their index find nothing. Raises NotReleasable."""
    with zipfile.ZipFile(wheel) as inside:
        lacking = set(OBJECTS) - set(inside.namelist())
    if lacking:
        raise NotReleasable(f"the wheel has no {', '.join(sorted(lacking))}")
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {*PARTS, *(f"src/{each}" for each in OBJECTS)}
    if not wanted <= names:
        raise NotReleasable(f"the source distribution has no {', '.join(sorted(wanted - names))}")
    for tool in (["twine", "check", "--strict", str(source), str(wheel)], ["check_wheel_contents", str(wheel)]):
        done = subprocess.run([sys.executable, "-m", *tool], capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotReleasable(f"{tool[0]}: {(done.stdout + done.stderr).strip()}")


if __name__ == "__main__":
    sys.exit(main())
