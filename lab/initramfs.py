"""The file system a guest boots into: busybox, the init script, the module and the programs that take memory."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from lab.build import Built, build_modules
from lab.cache import CACHE, only_one
from lab.debian import SUITE
from lab.errors import Missing
from lab.kernels import HERE, Architecture
from lab.packages import Archive, unpack

_MAKEDUMPFILE = ("makedumpfile", "libc6", "libdw1", "libelf1", "liblzo2-2", "zlib1g", "liblzma5", "libbz2-1.0")


def write(
    built: Built, script: Path, initramfs: Path, *, makedumpfile: bool = False, page_owner_is_fatal: bool = False
) -> None:
    """The initramfs for a kernel and a scenario's script, with makedumpfile and its libraries where asked for.

    Where reading page_owner would kill the guest, the guest is told to leave that out.
    """
    architecture = built.kernel.architecture
    root = initramfs.with_suffix(".root")
    for folder in ("bin", "proc", "sys", "dev", "tmp", "modules"):
        (root / folder).mkdir(parents=True)
    shutil.copy(HERE / "guest" / "init", root)
    (root / "init").chmod(0o755)
    shutil.copy(_unpacked(architecture, "busybox-static") / "bin" / "busybox", root / "bin")
    for source in (HERE / "guest").glob("*.c"):
        shutil.copy(_compiled(architecture, source), root / "bin")
    for module in build_modules(built):
        shutil.copy(module, root)
    shutil.copy(script, root / "scenario.sh")
    if page_owner_is_fatal:
        (root / "page_owner-is-fatal").touch()
    for number, of_disk in enumerate(built.modules):
        shutil.copy(of_disk, root / "modules" / f"{number:02}-{of_disk.name}")  # init loads them by their names
    if makedumpfile:
        packages = _unpacked(architecture, *_MAKEDUMPFILE)
        _add(packages / "usr" / "bin" / "makedumpfile", packages, root)
    names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    command = ["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0"]
    with initramfs.open("wb") as output:
        subprocess.run(command, cwd=root, input=names.encode(), stdout=output, check=True)
    shutil.rmtree(root)


def _compiled(architecture: Architecture, source: Path) -> Path:
    program = CACHE / "programs" / architecture.name / source.stem
    with only_one(program):
        if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
            unfinished = program.with_suffix(".new")
            compiler = f"{architecture.cross_compile}gcc"
            subprocess.run([compiler, "-O2", "-Wall", "-static", "-o", unfinished, source], check=True)
            unfinished.rename(program)
    return program


def _unpacked(architecture: Architecture, *packages: str) -> Path:
    """A folder with the files of Debian packages, whatever kernel the guest runs."""
    archive = Archive(CACHE / "apt" / f"{SUITE}-{architecture.debian}", SUITE, architecture.debian)
    folder = CACHE / "programs" / architecture.name / f"{packages[0]}.files"
    with only_one(folder):
        if not folder.exists():
            unfinished = folder.with_suffix(".new")
            for package in packages:
                unpack(archive.fetch(package), unfinished)
            unfinished.rename(folder)
    return folder


def _add(program: Path, packages: Path, root: Path, place: str | None = None) -> None:
    """A program or library with its interpreter and, in turn, the libraries it needs, where Debian has them."""
    target = root / (place or str(program.relative_to(packages)))
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(program, target)
    told = subprocess.run(["readelf", "--wide", "-l", "-d", program], capture_output=True, text=True, check=True).stdout
    for library, interpreter in re.findall(r"\(NEEDED\).*\[(.+)\]|interpreter: /([^]]+)\]", told):
        name = library or Path(interpreter).name
        # Links that name a place from the root would lead out of the packages.
        files = [path for path in packages.rglob(name) if packages in path.resolve().parents]
        if not files:
            raise Missing(f"{program.name} needs {name}, which none of its packages brings")
        _add(files[0], packages, root, interpreter or None)
