"""One file for each platform that installs without an index: wheels for Python 3.11 to 3.14, and a script.

    python -m release.bundle [--dist dist] [--machine x86_64]

Takes the wheel of `make release` from the folder of distributions, fetches the others with pip, and puts the installer
(release/install.sh) before them.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path

from release.__main__ import ROOT, NotReleasable, version_of

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
# drgn has wheels for x86_64 only.
EXTRAS = {"x86_64": ("vmcore", "html", "watch"), "aarch64": ("html", "watch")}
_GLIBCS = ("2_17", "2_24", "2_27", "2_28")


def main() -> int:
    """Make them; 1 where one cannot be made."""
    asked = argparse.ArgumentParser(prog="python -m release.bundle")
    asked.add_argument("--dist", type=Path, default=ROOT / "dist")
    asked.add_argument("--machine", choices=sorted(EXTRAS), action="append")
    words = asked.parse_args()
    try:
        for machine in words.machine or sorted(EXTRAS):
            made = bundle(words.dist, machine)
            print(f"{made.stat().st_size:>12,}  {made.name}")
    except (NotReleasable, subprocess.CalledProcessError) as problem:
        print(f"bundle: {problem}", file=sys.stderr)
        return 1
    return 0


def bundle(dist: Path, machine: str) -> Path:
    """The file for a machine, in `dist`. Raises NotReleasable where the release's wheel is not there."""
    version = version_of((ROOT / "src/oomscope/__init__.py").read_text())
    wheel = dist / f"oomscope-{version}-py3-none-any.whl"
    if not wheel.exists():
        raise NotReleasable(f"{wheel} is not there: make release")
    with tempfile.TemporaryDirectory(prefix="oomscope-bundle-") as work:
        wheels = Path(work)
        fetch(machine, wheels)
        script = _script(machine, version)
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for path in (ROOT / "src/oomscope/old_python.py", wheel, *sorted(wheels.glob("*.whl"))):
                tar.add(path, path.name, filter=_nobodys)
    target = dist / f"oomscope-{version}-linux-{machine}.run"
    target.write_bytes(script.encode() + packed.getvalue())
    target.chmod(0o755)
    return target


def fetch(machine: str, folder: Path) -> None:
    """Wheels of all that the command and its extras need, for each Python, and pip's own."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    needed = [*project["dependencies"], *(each for name in EXTRAS[machine] for each in extras[name]), "pip"]
    for python in PYTHONS:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", python, *platforms(machine)]
        subprocess.run([*command, "--dest", str(folder), *needed], check=True, stderr=subprocess.DEVNULL)


def platforms(machine: str) -> list[str]:
    """What pip is told of a machine: every C library that its wheels may ask for."""
    names = [*(f"manylinux_{glibc}_{machine}" for glibc in _GLIBCS), f"manylinux2014_{machine}"]
    return [word for name in names for word in ("--platform", name)]


def _script(machine: str, version: str) -> str:
    text = (ROOT / "release/install.sh").read_text()
    text = (
        text.replace("@MACHINE@", machine).replace("@VERSION@", version).replace("@EXTRAS@", ",".join(EXTRAS[machine]))
    )
    return text.replace("@LINES@", str(text.count("\n") + 1))


def _nobodys(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    entry.mtime = 0
    return entry


if __name__ == "__main__":
    sys.exit(main())
