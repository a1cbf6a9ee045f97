"""The Debian below which a guest runs oomscope: Python, libbpf and a few tools for the guest's own architecture.

Packages come from the machine's apt and wheels from its pip; both are unpacked into a folder and installed nowhere. The
checkout is not in it: a guest sees that as a share of its own.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from lab import third_party as peers
from lab.cache import CACHE, only_one
from lab.errors import Missing
from lab.kernels import HERE, X86_64, Architecture
from lab.packages import Archive

SUITE = "bookworm"
_PACKAGES = ("python3", "libstdc++6", "libbpf1", "dash", "coreutils", "mount", "procps", "kmod")
# What `oomscope watch` passes its incidents on to: journald, Prometheus, node_exporter.
_LISTENERS = ("systemd", "prometheus", "prometheus-node-exporter")
_MACHINE_ID = "0123456789abcdef0123456789abcdef\n"  # journald does not start without
_PYTHON = "3.11"  # bookworm's
_GLIBCS = ("2_17", "2_24", "2_27", "2_28", "2_31", "2_34")  # up to bookworm's
_CHECKOUT = HERE.parent
# Where Debian moved all programs and libraries; packages still name the old places.
_MERGED = ("bin", "sbin", "lib", "lib64")
_MOUNT_POINTS = ("proc", "sys", "dev", "run", "tmp", "mnt", "opt/checkout")
_COMMAND = '#!/bin/sh\nexec python3 -B -m oomscope "$@"\n'


def root(architecture: Architecture) -> Path:
    """The root folder, made once for each list of packages and wheels. Raises Missing."""
    wheels = _wheels(architecture)
    made_of = (_packages(architecture), _MOUNT_POINTS, _PYTHON, wheels, _COMMAND, _MACHINE_ID, peers.MEMLEAK)
    recipe = hashlib.sha256(repr(made_of).encode()).hexdigest()[:12]
    folder = CACHE / "roots" / f"{SUITE}-{architecture.debian}_{recipe}"
    with only_one(folder):
        if not folder.exists():
            unfinished = folder.with_name(folder.name + ".new")
            shutil.rmtree(unfinished, ignore_errors=True)
            _make(architecture, wheels, unfinished)
            unfinished.rename(folder)
    return folder


def _packages(architecture: Architecture) -> tuple[str, ...]:
    return (*_PACKAGES, *(_LISTENERS if architecture is X86_64 else ()))


def packaged_root(suite: str) -> Path:
    """A clean Debian of this suite with nothing of ours in it but the package of `make deb`. Raises Missing."""
    package = next(iter(sorted((_CHECKOUT / "dist").glob(f"oomscope_*~{suite}_amd64.deb"))), None)
    if package is None:
        raise Missing(f"there is no package for {suite} in dist/: make deb")
    recipe = hashlib.sha256(repr((_PACKAGES, _MOUNT_POINTS)).encode() + package.read_bytes()).hexdigest()[:12]
    folder = CACHE / "roots" / f"packaged-{suite}_{recipe}"
    with only_one(folder):
        if not folder.exists():
            unfinished = folder.with_name(folder.name + ".new")
            shutil.rmtree(unfinished, ignore_errors=True)
            _make_folders(unfinished)
            archive = Archive(CACHE / "apt" / f"{suite}-{X86_64.debian}", suite, X86_64.debian)
            for each in archive.needed(*_PACKAGES):
                _unpack(archive.fetch(each), unfinished)
            _unpack(package, unfinished)
            _link_shell(unfinished)
            unfinished.rename(folder)
    return folder


def _make_folders(folder: Path) -> None:
    for name in _MERGED:
        (folder / "usr" / name).mkdir(parents=True)
        (folder / name).symlink_to(f"usr/{name}")
    for name in _MOUNT_POINTS:
        (folder / name).mkdir(parents=True)


def _link_shell(folder: Path) -> None:
    (folder / "bin" / "sh").unlink(missing_ok=True)
    (folder / "bin" / "sh").symlink_to("dash")


def _make(architecture: Architecture, wheels: tuple[str, ...], folder: Path) -> None:
    _make_folders(folder)
    archive = Archive(CACHE / "apt" / f"{SUITE}-{architecture.debian}", SUITE, architecture.debian)
    for package in archive.needed(*_packages(architecture)):
        _unpack(archive.fetch(package), folder)
    _link_shell(folder)
    (folder / "etc" / "machine-id").write_text(_MACHINE_ID)
    command = folder / "usr" / "bin" / "oomscope"
    command.write_text(_COMMAND)
    command.chmod(0o755)
    _install_wheels(architecture, wheels, folder / "usr" / "local" / "lib" / f"python{_PYTHON}" / "dist-packages")
    if architecture is X86_64:
        peers.put(folder / "opt" / "peers")
    # Emulated, compiling takes longer than what is compiled. Another Python than the guest's compiles in vain, no more.
    subprocess.run(
        [sys.executable, "-m", "compileall", "-q", "-j0", "-s", folder, "-p", "/", folder / "usr"], check=False
    )


def _unpack(package: Path, folder: Path) -> None:
    files = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "--keep-directory-symlink", "-C", folder], stdin=files.stdout, check=True)
    if files.wait():
        raise Missing(f"{package.name} could not be unpacked")


def _wheels(architecture: Architecture) -> tuple[str, ...]:
    """What oomscope depends on. drgn has no wheel for arm64: a guest of it cannot read its own kernel memory."""
    project = tomllib.loads((_CHECKOUT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    return (*project["dependencies"], *extras["watch"], *(extras["vmcore"] if architecture is X86_64 else ()))


def constraints() -> str:
    """The versions that the checkout is tested with; pip takes no extras (`name[extra]==1`) for constraints."""
    return re.sub(r"\[.*?\]", "", (_CHECKOUT / "requirements-dev.txt").read_text())


def _install_wheels(architecture: Architecture, wheels: tuple[str, ...], target: Path) -> None:
    machine = architecture.cross_compile.partition("-")[0]
    platforms = [f"--platform=manylinux_{glibc}_{machine}" for glibc in _GLIBCS]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    command += ["--root-user-action=ignore", f"--target={target}", "--constraint=/dev/stdin"]
    command += [f"--python-version={_PYTHON}", "--implementation=cp", "--only-binary=:all:", *platforms, *wheels]
    done = subprocess.run(command, capture_output=True, text=True, input=constraints())
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise Missing(f"pip cannot get {' '.join(wheels)} for {machine}: {last}")
