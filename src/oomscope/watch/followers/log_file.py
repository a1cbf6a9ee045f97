"""A log file that grows, is rotated or begins anew."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from oomscope import bounds
from oomscope.errors import Unreadable, cause_of
from oomscope.watch.followers.follower import FollowedLine, Position

_CHUNK_BYTES = 1 << 18
_REST_S = 0.4


class LogFile:
    """A file by its name, whatever file has it at the moment. See Follower.

    What lies there when it is opened is read first, then what is added; where another file takes the name, the old one
    is read to its end. A line without its end waits for it. What was rotated away while nobody looked is read before,
    if it lies beside it as NAME.1.
    """

    def __init__(self, path: Path, position: Position = ()) -> None:
        """Go on at (inode, offset). Raises Unreadable."""
        self.name, self.lost_records = str(path), 0
        self._path, self._rest, self._at = path, b"", 0
        self._rest_at: tuple[bytes, float] | None = None  # what waits for its end, and since when
        self._file: BinaryIO | None = None
        self._open(path, must_be_there=True)
        if position:
            self._go_on(int(position[0]), int(position[1]))

    def fileno(self) -> None:
        """A file is always readable: it is looked at now and then."""
        return

    def lines(self) -> Iterator[FollowedLine]:
        """See Follower."""
        while True:
            yield from self._read()
            if not self._is_rotated():
                yield from self._rest_that_stays()
                return
            if self._file is not None:
                yield from self._read()  # what came between the look and the rotation
                if self._rest:
                    self._at += len(self._rest)
                    yield self._line(self._rest)
            self._open(self._path)
            if self._file is None:
                return

    def close(self) -> None:
        """See Follower."""
        if self._file is not None:
            self._file.close()

    def _open(self, path: Path, *, must_be_there: bool = False) -> None:
        if self._file is not None:
            self._file.close()
        self._rest, self._at, self._file = b"", 0, None
        try:
            if path.is_dir():
                raise IsADirectoryError(21, os.strerror(21))
            self._file = path.open("rb")
        except OSError as error:
            if must_be_there:
                raise Unreadable(f"{path}: {cause_of(error)}") from error

    def _go_on(self, inode: int, offset: int) -> None:
        for path in (self._path, self._path.with_name(self._path.name + ".1")):
            try:
                is_it = path.stat().st_ino == inode and path.stat().st_size >= offset
            except OSError:
                continue
            if is_it:
                self._open(path)
                if self._file is not None:
                    self._file.seek(offset)
                    self._at = offset
                return

    def _read(self) -> Iterator[FollowedLine]:
        while self._file is not None and (chunk := self._file.read(_CHUNK_BYTES)):
            *whole, self._rest = (self._rest + chunk).split(b"\n")
            for line in whole:
                self._at += len(line) + 1
                yield self._line(line)
            if len(self._rest) > bounds.LINE_BYTES:
                self._at += len(self._rest)
                yield self._line(self._rest)
                self._rest = b""

    def _rest_that_stays(self) -> Iterator[FollowedLine]:
        """A last line whose end does not come: whoever copied the log left it out."""
        if not self._rest or self._rest_at is None or self._rest_at[0] != self._rest:
            self._rest_at = (self._rest, time.monotonic()) if self._rest else None
        elif time.monotonic() - self._rest_at[1] >= _REST_S:
            self._at += len(self._rest)
            yield self._line(self._rest)
            self._rest, self._rest_at = b"", None

    def _line(self, text: bytes) -> FollowedLine:
        assert self._file is not None
        return FollowedLine(text, None, [os.fstat(self._file.fileno()).st_ino, self._at])

    def _is_rotated(self) -> bool:
        """Whether the name is another file's now, or the file has become shorter: it begins anew."""
        try:
            now = self._path.stat()
        except OSError:
            return False  # away for the moment of a rotation: the old one goes on
        if self._file is None:
            return True
        mine = os.fstat(self._file.fileno())
        return (now.st_dev, now.st_ino) != (mine.st_dev, mine.st_ino) or now.st_size < self._file.tell()
