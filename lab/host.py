"""What this machine must have before the lab can build and boot."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from lab.errors import Missing
from lab.kernels import ARM64, X86_64, Architecture

# What has to be there -> the Debian package that brings it. An absolute path stands for itself, the rest are programs.
_ALWAYS = {
    "make": "make",
    "gcc": "gcc",
    "flex": "flex",
    "bison": "bison",
    "bc": "bc",
    "cpio": "cpio",
    "patch": "patch",
    "pahole": "dwarves",
    "perl": "perl",
    "xz": "xz-utils",
    "readelf": "binutils",
    "mke2fs": "e2fsprogs",
    "fallocate": "util-linux",
    "sysctl": "procps",
    "clang": "clang",
    "llvm-strip": "llvm",
    "/usr/include/bpf/bpf_helpers.h": "libbpf-dev",
    "/usr/include/libelf.h": "libelf-dev",
    "/usr/include/openssl/opensslv.h": "libssl-dev",
    "/usr/include/stdio.h": "libc6-dev",
}
_PER_ARCHITECTURE = {
    X86_64.name: {"x86_64-linux-gnu-gcc": "gcc", "qemu-system-x86_64": "qemu-system-x86"},
    ARM64.name: {
        "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu",
        "/usr/aarch64-linux-gnu/include/stdio.h": "libc6-dev-arm64-cross",
        "qemu-system-aarch64": "qemu-system-arm",
    },
}


def missing_packages(architectures: Iterable[Architecture]) -> list[str]:
    """The Debian packages this machine lacks, sorted."""
    needed = dict(_ALWAYS)
    for architecture in architectures:
        needed |= _PER_ARCHITECTURE[architecture.name]
    return sorted({package for thing, package in needed.items() if not _is_there(thing)})


def require(architectures: Iterable[Architecture]) -> None:
    """Nothing, or Missing with the command that installs what is not there."""
    if packages := missing_packages(architectures):
        raise Missing(
            f"the lab needs more than this machine has: apt-get install --no-install-recommends {' '.join(packages)}"
        )


def install(architectures: Iterable[Architecture]) -> list[str]:
    """The packages just installed, with the machine's own apt. Raises Missing where that takes root or fails."""
    architectures = list(architectures)
    packages = missing_packages(architectures)
    if packages:
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            require(architectures)
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update", "-qq"], ["install", "-qq", "-y", "--no-install-recommends", *packages]):
            done = subprocess.run(
                ["apt-get", *command], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
            )
            if done.returncode:
                raise Missing(f"apt-get {' '.join(command)} failed")
    require(architectures)
    return packages


def _is_there(thing: str) -> bool:
    return Path(thing).exists() if thing.startswith("/") else shutil.which(thing) is not None
