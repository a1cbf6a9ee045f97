"""Where each log was read to, so that a restart tells no event twice and none too few."""

from __future__ import annotations

import json
from pathlib import Path

from oomscope.errors import OutputFailed, cause_of
from oomscope.io import whole_file
from oomscope.watch.followers.follower import Position

_BOOT_ID = "proc/sys/kernel/random/boot_id"


class Bookmarks:
    """A file with a position for each log. What was written in another boot, or is no state, counts as absent."""

    def __init__(self, path: Path | None, root: Path = Path("/")) -> None:
        self._path = path
        self._boot = boot_id(root)
        self._positions: dict[str, list[int | str]] = {}
        if path is None:
            return
        try:
            told = json.loads(path.read_text())
            if told["boot"] == self._boot:
                self._positions = {name: list(position) for name, position in told["positions"].items()}
            else:  # files go on in another boot, the kernel's ring and its numbers begin anew
                self._positions = {
                    n: list(p) for n, p in told["positions"].items() if n.startswith("/") and len(p) == 2
                }
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self._positions = {}

    def position(self, name: str) -> Position:
        """Where to go on; empty where that is not known."""
        return self._positions.get(name, [])

    def write(self, positions: dict[str, Position]) -> None:
        """Keep them. Raises OutputFailed."""
        self._positions |= {name: list(position) for name, position in positions.items() if position}
        if self._path is None:
            return
        try:
            with whole_file.opened(self._path, mode=0o600) as file:
                file.write(json.dumps({"boot": self._boot, "positions": self._positions}).encode())
        except OSError as error:
            raise OutputFailed(f"{self._path}: {cause_of(error)}") from error


def boot_id(root: Path = Path("/")) -> str:
    """This boot's own name; empty where the kernel does not tell."""
    try:
        return (root / _BOOT_ID).read_text().strip()
    except OSError:
        return ""
