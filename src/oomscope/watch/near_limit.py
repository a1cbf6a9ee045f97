"""Memory cgroups near their limit, without an OOM: what memory.events counts (admin-guide/cgroup-v2.rst)."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

from oomscope.errors import BadQuestion
from oomscope.model.notice import NEAR, Incident
from oomscope.units import bytes_text, counted
from oomscope.watch.cgroup_places import place_of

EVERY_S = 5.0
_ONLY_V2 = "only version 2 of cgroups counts such events (memory.events)"
_QUIET_S = 60.0  # one group is told of that often
_MOUNT = "sys/fs/cgroup"
_COUNT = re.compile(r"^(?P<name>\w+) (?P<value>\d+)$", re.MULTILINE)
_WATCHED = {"high": "was held back at memory.high", "max": "was about to go over memory.max"}


class NearLimit:
    """The groups that are looked at, by their paths below /sys/fs/cgroup; a `*` stands for any name."""

    def __init__(self, paths: tuple[str, ...], root: Path = Path("/")) -> None:
        """Raises BadQuestion where none of them is there."""
        self._root, self._paths = root, paths
        self._counts: dict[str, dict[str, int]] = {}
        self._told: dict[str, float] = {}
        for path in paths:
            if not list(self._groups(path)):
                raise BadQuestion(f"--near {path}: no such cgroup below /sys/fs/cgroup", advice=_ONLY_V2)
        self._is_first = True  # what happened before the watch is not told
        list(self.due(0.0))
        self._is_first = False

    def due(self, now: float) -> Iterator[Incident]:
        """What has happened since the last look; a group that was told of lately is told of later, with all of it."""
        seen = set()
        for path in self._paths:
            for folder in self._groups(path):
                name = "/" + str(folder.relative_to(self._root / _MOUNT))
                seen.add(name)
                counts = _counts(folder / "memory.events")
                if counts is None:
                    continue
                before = self._counts.setdefault(name, counts if self._is_first else {})
                if any(counts.get(key, 0) < count for key, count in before.items()):
                    before = self._counts[name] = {}  # removed, and made anew
                more = {key: counts.get(key, 0) - before.get(key, 0) for key in _WATCHED}
                if counts.get("oom", 0) > before.get("oom", 0):
                    self._counts[name] = counts  # the OOM itself is told, and says more
                    continue
                if not any(count > 0 for count in more.values()) or now - self._told.get(name, -_QUIET_S) < _QUIET_S:
                    continue
                self._counts[name], self._told[name] = counts, now
                yield self._incident(name, folder, more)
        for gone in self._counts.keys() - seen:
            del self._counts[gone]
            self._told.pop(gone, None)

    def _incident(self, name: str, folder: Path, more: dict[str, int]) -> Incident:
        usage, limit = (_number(folder / file) for file in ("memory.current", "memory.max"))
        high = _number(folder / "memory.high")
        told = [f"{verb} {counted(more[key], 'time')}" for key, verb in _WATCHED.items() if more[key] > 0]
        bound = high if more["high"] > 0 and high is not None else limit
        has = (
            ""
            if usage is None
            else f"; it has {bytes_text(usage)}" + ("" if bound is None else f" of {bytes_text(bound)}")
        )
        return Incident(
            NEAR,
            time.time(),
            f"{place_of(name, self._root)} {' and '.join(told)}{has}",
            name,
            figures={"cgroup": name, **{f"{key}_events": count for key, count in more.items()}},
        )

    def _groups(self, path: str) -> Iterator[Path]:
        pattern = path.strip("/")
        folder = self._root / _MOUNT
        try:
            found = list(folder.glob(pattern)) if pattern else [folder]
        except (ValueError, NotImplementedError) as error:
            raise BadQuestion(f"--near {path}: {error}") from error
        yield from (each for each in sorted(found) if (each / "memory.events").is_file())


def _counts(file: Path) -> dict[str, int] | None:
    try:
        return {row["name"]: int(row["value"]) for row in _COUNT.finditer(file.read_text())}
    except OSError:
        return None


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None  # "max": no limit
