"""What only the living machine has at the moment of an OOM: read at once, before it is gone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from oomscope.model.notice import Surroundings

_MOUNTS = ("sys/fs/cgroup", "sys/fs/cgroup/memory")
_MACHINE_FILES = ("proc/meminfo", "proc/vmstat", "proc/slabinfo", "proc/zoneinfo", "proc/buddyinfo", "proc/vmallocinfo")
_PRESSURE = ("memory", "io", "cpu")
_GROUP_FILES = (
    *("memory.current", "memory.max", "memory.high", "memory.events", "memory.stat", "memory.swap.current"),
    *("memory.pressure", "memory.limit_in_bytes", "memory.usage_in_bytes", "memory.max_usage_in_bytes"),
)
_MEMINFO_SHOWN = ("MemTotal", "MemFree", "MemAvailable", "Slab", "SUnreclaim", "Shmem", "SwapTotal", "SwapFree")
_CACHES_SHOWN = 5
_MOST_BYTES = 1 << 20  # of one file
_ROW = re.compile(r"^(?P<name>[A-Za-z0-9_().]{1,60}):? {1,30}(?P<value>\d{1,20})(?: kB)?$", re.MULTILINE)
_SLAB = re.compile(
    r"^(?P<name>\S+) +\d+ +\d+ +\d+ +\d+ +(?P<pages>\d+) .*: slabdata +\d+ +(?P<slabs>\d+)", re.MULTILINE
)


def of_machine(root: Path = Path("/"), page_bytes: int = 4096) -> Surroundings:
    """What the machine tells of itself: files that need root are left out without it."""
    files = dict(_read(root, _MACHINE_FILES))
    files |= dict(_read(root, tuple(f"proc/pressure/{name}" for name in _PRESSURE)))
    meminfo = _numbers(files.get("proc/meminfo", b""))
    pressure = {
        name: text.decode(errors="replace").strip()
        for name in _PRESSURE
        if (text := files.get(f"proc/pressure/{name}")) is not None
    }
    return Surroundings(
        meminfo_kib={name: meminfo[name] for name in _MEMINFO_SHOWN if name in meminfo},
        pressure=pressure,
        slab_bytes=_greatest_caches(files.get("proc/slabinfo", b""), page_bytes),
        files=files,
    )


def of_cgroup(path: str, root: Path = Path("/")) -> tuple[dict[str, int], dict[str, bytes]]:
    """A memory cgroup's memory.stat, and its files; empty where it is gone already."""
    # The path is a log's word: it stays below the mount.
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    for mount in _MOUNTS:
        folder = Path(mount, *parts)
        files = dict(_read(root, tuple(str(folder / name) for name in _GROUP_FILES)))
        if files:
            return _numbers(files.get(str(folder / "memory.stat"), b"")), files
    return {}, {}


def _read(root: Path, names: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    for name in names:
        try:
            with (root / name).open("rb") as file:
                yield name, file.read(_MOST_BYTES)
        except OSError:
            continue


def _numbers(text: bytes) -> dict[str, int]:
    return {row["name"]: int(row["value"]) for row in _ROW.finditer(text.decode(errors="replace"))}


def _greatest_caches(slabinfo: bytes, page_bytes: int) -> dict[str, int]:
    rows = (
        (int(row["slabs"]) * int(row["pages"]) * page_bytes, row["name"])
        for row in _SLAB.finditer(slabinfo.decode(errors="replace"))
    )
    return {name: size for size, name in sorted(rows, reverse=True)[:_CACHES_SHOWN]}
