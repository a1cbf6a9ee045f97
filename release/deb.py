"""Debian packages: the command with libraries of its own below /opt, for the Python of one suite.

    python -m release.deb [--dist dist] [--suite bookworm] [--suite trixie]

Takes the wheel of `make release`. Man pages and completions come from the command itself.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path

from click_man.core import write_man_pages

from oomscope import __version__
from oomscope.cli import cli
from release.__main__ import ROOT, NotReleasable, version_of
from release.bundle import EXTRAS, fetch, platforms

HERE = Path(__file__).parent / "debian"
PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}
MACHINE, ARCHITECTURE = "x86_64", "amd64"
LIBRARIES = "opt/oomscope/lib"
_SHELLS = {
    "bash": "usr/share/bash-completion/completions/oomscope",
    "zsh": "usr/share/zsh/vendor-completions/_oomscope",
    "fish": "usr/share/fish/vendor_completions.d/oomscope.fish",
}
_CONTROL = """\
Package: oomscope
Version: {version}
Architecture: {architecture}
Maintainer: The oomscope authors <oomscope@localhost>
Installed-Size: {kib}
Depends: python3 (>= {python}), python3 (<< {next}), libc6 (>= 2.28), libstdc++6, libgcc-s1, zlib1g
Recommends: libbpf1
Section: admin
Priority: optional
Description: says who ate the memory when Linux runs out of it
 Reads kernel logs, core dumps, page_owner and the kernel's own accounts, and names
 the greatest memory consumers, how much of RAM they hold, and how sure that is.
 Armed, it lets the dying kernel name them on its console.
"""


def main() -> int:
    """Make them; 1 where one cannot be made."""
    asked = argparse.ArgumentParser(prog="python -m release.deb")
    asked.add_argument("--dist", type=Path, default=ROOT / "dist")
    asked.add_argument("--suite", choices=sorted(PYTHONS), action="append")
    words = asked.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="oomscope-deb-") as work:
            wheels = Path(work, "wheels")
            fetch(MACHINE, wheels)
            for suite in words.suite or sorted(PYTHONS):
                made = package(words.dist, suite, wheels, Path(work, suite))
                print(f"{made.stat().st_size:>12,}  {made.name}")
    except (NotReleasable, subprocess.CalledProcessError) as problem:
        print(f"deb: {problem}", file=sys.stderr)
        return 1
    return 0


def package(dist: Path, suite: str, wheels: Path, root: Path) -> Path:
    """The package for a suite, in `dist`, with libraries from the folder `wheels`. Raises NotReleasable."""
    version = version_of((ROOT / "src/oomscope/__init__.py").read_text())
    wheel = dist / f"oomscope-{version}-py3-none-any.whl"
    if not wheel.exists():
        raise NotReleasable(f"{wheel} is not there: make release")
    python = PYTHONS[suite]
    full = f"{version}-1~{suite}"
    _libraries(wheel, wheels, python, root / LIBRARIES)
    _put(root / "usr/bin/oomscope", (HERE / "oomscope").read_bytes(), 0o755)
    for unit in ("oomscope-arm.service", "oomscope-watch.service"):
        _put(root / "usr/lib/systemd/system" / unit, (HERE / unit).read_bytes())
    _put(root / "usr/share/lintian/overrides/oomscope", (HERE / "lintian-overrides").read_bytes())
    licence = "\n ".join(line or "." for line in (ROOT / "LICENSE").read_text().strip().splitlines())
    copyright_ = (HERE / "copyright").read_text().replace("@LICENSE@", licence)
    _put(root / "usr/share/doc/oomscope/copyright", copyright_.encode())
    changed = (
        f"oomscope ({full}) {suite}; urgency=medium\n\n  * See oomscope help, and CHANGELOG.md of the release.\n\n"
    )
    changed += f" -- The oomscope authors <oomscope@localhost>  {formatdate(_epoch())}\n"
    _put(root / "usr/share/doc/oomscope/changelog.Debian.gz", gzip.compress(changed.encode(), 9, mtime=0))
    _command_files(root)
    _control(root, full, python)
    target = dist / f"oomscope_{full}_{ARCHITECTURE}.deb"
    command = ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", str(root), str(target)]
    subprocess.run(
        command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "SOURCE_DATE_EPOCH": str(_epoch())}
    )
    return target


def _epoch() -> int:
    """When the release was committed: builds of one commit are equal."""
    done = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=False)
    return int(done.stdout.strip() or 0)


def _libraries(wheel: Path, wheels: Path, python: str, target: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    command += ["--no-index", "--find-links", str(wheels), "--target", str(target), "--only-binary=:all:"]
    command.append("--ignore-requires-python")  # pip holds that against the Python it runs on, not the one it is told
    command += ["--implementation", "cp", "--python-version", python, *platforms(MACHINE)]
    subprocess.run([*command, f"{wheel}[{','.join(EXTRAS[MACHINE])}]"], check=True, stderr=subprocess.DEVNULL)
    shutil.rmtree(target / "bin", ignore_errors=True)
    for folder in ("tests", "testing/tests"):
        for tests in [*target.glob(f"numpy/{folder}"), *target.glob(f"numpy/*/{folder}")]:
            shutil.rmtree(tests)


def _command_files(root: Path) -> None:
    """Man pages of every command and completions for three shells, as the command gives them."""
    pages = root / "usr/share/man/man1"
    with tempfile.TemporaryDirectory() as work:
        date = datetime.fromtimestamp(_epoch(), UTC).strftime("%Y-%m-%d")
        write_man_pages("oomscope", cli, version=__version__, target_dir=work, date=date)
        for page in sorted(Path(work).glob("*.1")):
            _put(pages / f"{page.name}.gz", gzip.compress(_with_examples(page.read_bytes()), 9, mtime=0))
    for shell, place in _SHELLS.items():
        env = {**os.environ, "_OOMSCOPE_COMPLETE": f"{shell}_source"}
        done = subprocess.run([sys.executable, "-m", "oomscope"], env=env, check=True, capture_output=True)
        _put(root / place, done.stdout)


def _with_examples(page: bytes) -> bytes:
    """A man page whose examples, marked by click's backspace, stand a line each."""
    return re.sub(rb"^\x08\n((?:(?!\.)[^\n]*\n)*)", rb".nf\n\1.fi\n", page, flags=re.MULTILINE)


def _control(root: Path, version: str, python: str) -> None:
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    major, minor = map(int, python.split("."))
    text = _CONTROL.format(
        version=version,
        architecture=ARCHITECTURE,
        kib=sum(path.stat().st_size for path in files) // 1024,
        python=python,
        next=f"{major}.{minor + 1}",
    )
    sums = "".join(f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(root)}\n" for path in files)
    _put(root / "DEBIAN/control", text.encode())
    _put(root / "DEBIAN/md5sums", sums.encode())
    _put(root / "DEBIAN/prerm", (HERE / "prerm").read_bytes(), 0o755)
    for path in [root, *root.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)
        elif path.suffix in (".so", ".py", ".js", ".css", ".tsv", ".typed") or ".so." in path.name:
            path.chmod(0o644)


def _put(path: Path, content: bytes, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


if __name__ == "__main__":
    sys.exit(main())
