"""The files of one memory cgroup of this machine, of either version of the interface; anybody may read them."""

from __future__ import annotations

from pathlib import Path

from oomscope.errors import BadQuestion
from oomscope.sources.cgroupfs.figures import FILES

_MOUNTS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/memory"))


def files_of(path: str, mounts: tuple[Path, ...] = _MOUNTS) -> tuple[str, ...]:
    """What is there of FILES, as paths. `path` is the group's own below a mount, or a folder. Raises BadQuestion."""
    for folder in (*(mount / path.lstrip("/") for mount in mounts), Path(path)):
        found = [str(folder / name) for name in FILES if (folder / name).is_file()]
        if found:
            return tuple(found)
    where = f" below {mounts[0]}" if mounts else ""
    raise BadQuestion(f"--cgroup {path}: no such group{where}, or one without a memory controller")
