"""What a build of the package asks first: that the BPF programs are there, without which nothing can be armed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

OBJECTS = [f"src/oomscope/host/bpf/panic_report.{architecture}.o" for architecture in ("x86_64", "arm64")]
WITHOUT = "OOMSCOPE_WITHOUT_BPF"


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Builds the programs where clang is there, and refuses a wheel without them unless that is asked for."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's own signature
        """See hatchling. Raises RuntimeError."""
        root = Path(self.root)
        if version == "editable" or os.environ.get(WITHOUT) or all((root / each).exists() for each in OBJECTS):
            return
        if all(shutil.which(tool) for tool in ("make", "clang", "llvm-strip")):
            subprocess.run(["make", "bpf"], cwd=root, check=True)
            return
        raise RuntimeError(
            "the BPF programs are not built, and a package without them cannot arm: install clang, llvm and libbpf-dev "
            f"and try again, take a wheel of a release, or set {WITHOUT}=1 for one that only explains"
        )
