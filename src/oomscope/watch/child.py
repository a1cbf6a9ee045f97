"""A process of the watch's own: the same Python, the same libraries, and nothing of the folder that one stands in."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def command(module: str, *arguments: str) -> list[str]:
    """How a module of this package is run."""
    return [sys.executable, "-P", "-m", module, *arguments]


def environment() -> dict[str, str]:
    """Where this process found its libraries, as a package of a distribution sets them for itself."""
    home = str(Path(__file__).parents[2])
    here = str(Path.cwd()) if _has_folder() else ""
    places = [home, *(each for each in sys.path if os.path.isabs(each) and each not in (home, here))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(places)}


def _has_folder() -> bool:
    try:
        return bool(Path.cwd())
    except OSError:
        return False  # it was removed
