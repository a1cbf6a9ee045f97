"""Where each log was read to, so that a restart tells no event twice and none too few."""

from __future__ import annotations

import json
from pathlib import Path

from oomscope.errors import BadQuestion, OutputFailed, cause_of
from oomscope.io import whole_file
from oomscope.watch.followers.follower import Position

_BOOT_ID = "proc/sys/kernel/random/boot_id"
_MOST_BYTES = 1 << 20


class Bookmarks:
    """A file with a position for each log; what was written in another boot counts for files alone."""

    def __init__(self, path: Path | None, root: Path = Path("/")) -> None:
        """Raises BadQuestion where the file is another one, OutputFailed where none can be written."""
        self._path = path
        self._boot = boot_id(root)
        self._positions: dict[str, list[int | str]] = {}
        if path is None:
            return
        try:
            whole_file.require(path)
            if path.exists() and path.stat().st_size:
                self._positions = self._read(path.read_bytes()[:_MOST_BYTES])
        except OSError as error:
            raise OutputFailed(f"{path}: {cause_of(error)}") from error

    @property
    def is_kept(self) -> bool:
        """Whether there is a file."""
        return self._path is not None

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

    def _read(self, text: bytes) -> dict[str, list[int | str]]:
        try:
            told = json.loads(text)
            boot, positions = told["boot"], dict(told["positions"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise BadQuestion(f"--state {self._path}: it holds something else, and would be overwritten") from error
        sound = {name: position for name, position in positions.items() if _is_sound(position)}
        # In another boot the kernel's ring and its numbers begin anew; files go on.
        return sound if boot == self._boot else {name: each for name, each in sound.items() if len(each) == 3}


def _is_sound(position: object) -> bool:
    """A number of the ring, a cursor of the journal, or a file's inode, offset and checksum."""
    if not isinstance(position, list):
        return False
    numbers = all(isinstance(each, int) and not isinstance(each, bool) and each >= 0 for each in position)
    return (len(position) in (1, 3) and numbers) or (len(position) == 1 and isinstance(position[0], str))


def boot_id(root: Path = Path("/")) -> str:
    """This boot's own name; empty where the kernel does not tell."""
    try:
        return (root / _BOOT_ID).read_text().strip()
    except OSError:
        return ""
