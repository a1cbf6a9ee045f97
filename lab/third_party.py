"""Other people's tools that a guest is to run, with all they need in a folder of their own: from a newer Debian."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from lab.cache import CACHE
from lab.errors import Missing
from lab.packages import Archive, unpack

SUITE = "trixie"
MEMLEAK = "memleak-libbpf"  # of bcc's libbpf-tools; bookworm's have none
_PACKAGES = ("libbpf-tools", "libc6", "libelf1t64", "zlib1g", "libzstd1")
_LOADER = "ld-linux-x86-64.so.2"


def put(folder: Path) -> None:
    """memleak, its libraries and their loader into `folder`, for x86_64. Raises Missing."""
    archive = Archive(CACHE / "apt" / f"{SUITE}-amd64", SUITE, "amd64")
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as work:
        files = Path(work)
        for package in _PACKAGES:
            unpack(archive.fetch(package), files)
        wanted = [MEMLEAK, _LOADER]
        while wanted:
            name = wanted.pop()
            if (folder / name).exists():
                continue
            found = next((path for path in files.rglob(name) if path.resolve().is_relative_to(files)), None)
            if found is None:
                raise Missing(f"{MEMLEAK} needs {name}, which none of its packages brings")
            shutil.copy(found, folder / name)
            told = subprocess.run(["readelf", "--wide", "-d", found], capture_output=True, text=True, check=True).stdout
            wanted += re.findall(r"\(NEEDED\).*\[(.+)\]", told)
