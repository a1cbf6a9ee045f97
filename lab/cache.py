"""What is built once and kept: a folder outside the checkout, and what makes room when that is scarce."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "oomscope-lab"


WORK_PREFIX = "oomscope-lab-"  # of the folders that running guests have
_LEFT_BEHIND_S = 24 * 3600


def make_room(wanted_bytes: int, needed: Iterable[Path]) -> list[Path]:
    """Where less than that is free, remove what can be made again; what was removed.

    Kernels other than the `needed` ones, modules built for them, packages that have been unpacked, and what guests that
    ended a day ago without a word have left.
    """
    kept = {path.relative_to(CACHE / "kernels").parts[0] for path in needed if path.is_relative_to(CACHE / "kernels")}
    day_ago = time.time() - _LEFT_BEHIND_S
    removable = [
        *(path for path in Path(tempfile.gettempdir()).glob(f"{WORK_PREFIX}*") if path.stat().st_mtime < day_ago),
        *(path for path in CACHE.glob("apt/*/packages") if path.is_dir()),
        *(path for path in CACHE.glob("kernels/*") if path.is_dir() and path.name not in kept),
        *(path for path in CACHE.glob("modules/*") if path.is_dir() and path.name.rpartition("_")[0] not in kept),
    ]
    removed = []
    for path in removable:
        if shutil.disk_usage(CACHE).free >= wanted_bytes:
            break
        shutil.rmtree(path, ignore_errors=True)
        removed.append(path)
    return removed


@contextmanager
def only_one(thing: Path) -> Iterator[None]:
    """Whoever else makes the same thing, in another thread or process, waits here until it is there."""
    thing.parent.mkdir(parents=True, exist_ok=True)
    with thing.with_name(thing.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
