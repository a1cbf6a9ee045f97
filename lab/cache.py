"""What is built once and kept: a folder outside the checkout."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "oomscope-lab"


@contextmanager
def only_one(thing: Path) -> Iterator[None]:
    """Whoever else makes the same thing, in another thread or process, waits here until it is there."""
    thing.parent.mkdir(parents=True, exist_ok=True)
    with thing.with_name(thing.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
