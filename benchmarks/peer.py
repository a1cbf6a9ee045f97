"""The kernel's own tool, tools/mm/page_owner_sort.c, built from Debian's linux-source package."""

from __future__ import annotations

import lzma
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

PACKAGE = "linux-source-6.12"
_SOURCE = re.compile(r"[^/]+/tools/mm/page_owner_sort\.c")


def build(folder: Path) -> Path:
    """The program, built once into `folder`. Raises FileNotFoundError or CalledProcessError where it cannot be had."""
    program = folder / "page_owner_sort"
    if program.exists():
        return program
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "page_owner_sort.c"
    if not source.exists():
        source.write_bytes(_source(_package(folder)))
    compiler = shutil.which("cc") or shutil.which("gcc") or "cc"
    subprocess.run([compiler, "-O2", "-w", "-o", program, source], check=True)
    return program


def _package(folder: Path) -> Path:
    installed = Path(f"/usr/src/{PACKAGE}.tar.xz")
    if installed.exists():
        return installed
    subprocess.run(["apt-get", "update", "-qq"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["apt-get", "download", "-qq", PACKAGE], check=True, cwd=folder, stderr=subprocess.DEVNULL)
    package = next(folder.glob(f"{PACKAGE}_*.deb"))
    unpacked = folder / "unpacked"
    subprocess.run(["dpkg-deb", "--extract", package, unpacked], check=True)
    package.unlink()
    return unpacked / "usr" / "src" / f"{PACKAGE}.tar.xz"


def _source(archive: Path) -> bytes:
    with lzma.open(archive) as file, tarfile.open(fileobj=file, mode="r|") as tar:
        for member in tar:
            if _SOURCE.fullmatch(member.name):
                extracted = tar.extractfile(member)
                assert extracted is not None
                return extracted.read()
    raise FileNotFoundError(f"page_owner_sort.c in {archive}")
