"""Debian packages of any suite and architecture, fetched with the machine's own apt and installed nowhere.

The machine's apt configuration says where its packages come from; other suites are asked of the same hosts, through
lists and a cache of the lab's own, so that the machine's packages stay as they are.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from lab.cache import only_one
from lab.errors import Missing

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_LISTS_STAY_FRESH_S = 24 * 3600
_WITH_SECURITY = ("bullseye", "bookworm", "trixie")  # that have a suite of security updates beside them


@dataclass(frozen=True, slots=True)
class Archive:
    """One suite for one Debian architecture ("amd64", "arm64"); `folder` keeps its lists and packages."""

    folder: Path
    suite: str
    architecture: str

    def version(self, package: str) -> str:
        """The newest version of `package`. Raises Missing where the suite has none."""
        self._update()
        shown = self._apt("apt-cache", "show", "--no-all-versions", package, check=False)
        if match := re.search(r"^Version: (\S+)$", shown, re.MULTILINE):
            return match[1]
        raise Missing(f"Debian's {self.suite} has no package {package} for {self.architecture}")

    def names(self, prefix: str) -> list[str]:
        """The names of all packages that begin so."""
        self._update()
        return sorted(self._apt("apt-cache", "pkgnames", prefix).split())

    def needed(self, *packages: str) -> list[str]:
        """The packages and, in turn, all that they depend on. Raises Missing."""
        self._update()
        planned = self._apt("apt-get", "install", "--simulate", "--no-install-recommends", *packages)
        return re.findall(r"^Inst (\S+)", planned, re.MULTILINE)

    def fetch(self, package: str) -> Path:
        """The package's .deb file, downloaded once."""
        version = self.version(package)
        packages = self.folder / "packages"
        packages.mkdir(exist_ok=True)
        pattern = f"{package}_{version.replace(':', '%3a')}_*.deb"
        if not any(packages.glob(pattern)):
            self._apt("apt-get", "download", "-qq", f"{package}={version}", cwd=packages)
        return next(packages.glob(pattern))

    def _update(self) -> None:
        stamp = self.folder / "updated"
        with only_one(self.folder):
            if stamp.exists() and time.time() - stamp.stat().st_mtime < _LISTS_STAY_FRESH_S:
                return
            (self.folder / "lists" / "partial").mkdir(parents=True, exist_ok=True)
            (self.folder / "status").touch()
            (self.folder / "sources.list").write_text("\n".join(self._sources()) + "\n")
            self._apt("apt-get", "update", "-qq")
            stamp.touch()

    def _sources(self) -> list[str]:
        uris = _machine_uris()
        signed = f"[signed-by={KEYRING}]" if KEYRING.exists() else ""
        sources = [f"deb {signed} {uris['debian']} {self.suite} main"]
        if self.suite in _WITH_SECURITY and "debian-security" in uris:
            sources.append(f"deb {signed} {uris['debian-security']} {self.suite}-security main")
        return sources

    def _apt(self, *command: str, cwd: Path | None = None, check: bool = True) -> str:
        settings = {
            "APT::Architecture": self.architecture,
            "APT::Architectures": self.architecture,
            "APT::Sandbox::User": "root",
            "Dir::State": self.folder,
            "Dir::State::status": self.folder / "status",
            "Dir::Cache": self.folder,
            "Dir::Etc::sourcelist": self.folder / "sources.list",
            "Dir::Etc::sourceparts": os.devnull,
            "Dir::Etc::preferences": os.devnull,
            "Dir::Etc::preferencesparts": os.devnull,
        }
        options = [f"--option={name}={value}" for name, value in settings.items()]
        done = subprocess.run(
            [command[0], *options, *command[1:]], cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        if check and done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise Missing(f"{' '.join(command)} ({self.suite}, {self.architecture}) failed: {last}")
        return done.stdout


def unpack(package: Path, folder: Path) -> None:
    """The files of a .deb, below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["dpkg-deb", "--extract", package, folder], check=True)


def _machine_uris() -> dict[str, str]:
    """Where this machine gets Debian's packages: the last part of a repository's path -> the repository."""
    if shutil.which("apt-get") is None:
        raise Missing(
            "the lab builds kernels from Debian's packages and needs apt-get: run it on Debian or in its container"
        )
    targets = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=True,
    )
    uris = {uri.rstrip("/").rpartition("/")[2]: uri for uri in targets.stdout.split()}
    if "debian" not in uris:
        raise Missing("apt's configuration names no Debian archive: the lab builds kernels from Debian's packages")
    return uris
