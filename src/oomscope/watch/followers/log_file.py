"""A log file that grows, is rotated or begins anew."""

from __future__ import annotations

import os
import stat
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from oomscope import bounds
from oomscope.errors import Unreadable, cause_of
from oomscope.watch.followers.follower import FollowedLine, Position

_CHUNK_BYTES = 1 << 18
_REST_S = 0.4
_CHECKED_BYTES = 256  # before the place that was read to: another file's are others
_PACKED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ", b"BZh")
_PACKED_NAMES = (".gz", ".zst", ".xz", ".bz2")


class LogFile:
    """A file by its name, whatever file has it at the moment. See Follower.

    What lies there when it is opened is read first, then what is added; where another file takes the name, the old one
    is read to its end. A line without its end waits for it. What was rotated away while nobody looked is read before,
    if it lies beside it under a longer name.
    """

    def __init__(self, path: Path, position: Position = ()) -> None:
        """Go on at (inode, offset, checksum of what stands before). Raises Unreadable."""
        self.name, self.lost_records = str(path), 0
        self._path, self._rest, self._at, self._tail = path, b"", 0, b""
        self._rest_at: tuple[bytes, float] | None = None  # what waits for its end, and since when
        self._file: BinaryIO | None = None
        self._open(path, must_be_there=True)
        if position:
            self._go_on(*map(int, position))

    def fileno(self) -> None:
        """A file is always readable: it is looked at now and then."""
        return

    def lines(self) -> Iterator[FollowedLine]:
        """See Follower."""
        while True:
            try:
                if self._file is not None and _before(self._file, self._at) != self._tail:
                    self._open(self._path)  # emptied, or written anew: other bytes stand where it was read to
                yield from self._read()
                is_rotated = self._is_rotated()
            except OSError as error:
                raise Unreadable(f"{self._path}: {cause_of(error)}") from error
            if not is_rotated:
                yield from self._rest_that_stays()
                return
            if self._file is not None:
                yield from self._read()  # what came between the look and the rotation
                if self._rest:
                    yield self._line(self._rest, b"")
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
        self._rest, self._at, self._tail, self._file = b"", 0, b"", None
        try:
            kind = path.stat().st_mode
            if stat.S_ISDIR(kind):
                raise IsADirectoryError(21, os.strerror(21))
            if not stat.S_ISREG(kind):
                raise Unreadable(f"{path}: no file, but a device or a pipe", advice="`oomscope explain -` reads a pipe")
            self._file = path.open("rb")
            if must_be_there and self._file.read(8).startswith(_PACKED):
                self._file.close()
                raise Unreadable(f"{path}: compressed, which does not grow", advice="oomscope explain --all reads it")
            self._file.seek(0)
        except OSError as error:
            if must_be_there:
                raise Unreadable(f"{path}: {cause_of(error)}") from error

    def _go_on(self, inode: int, offset: int, check: int) -> None:
        """At that offset of the file that has the same before it: this one, or one that it was rotated to."""
        beside = self._path.parent.glob(f"{self._path.name}?*")
        rotated = sorted((each for each in beside if each.suffix not in _PACKED_NAMES), key=_age)
        for path in sorted((self._path, *rotated), key=lambda each: not _is(each, inode)):
            try:
                with path.open("rb") as file:
                    tail = _before(file, offset)
            except OSError:
                continue
            if tail is not None and zlib.crc32(tail) == check:
                self._open(path)
                if self._file is not None:
                    self._file.seek(offset)
                    self._at, self._tail = offset, tail
                return

    def _read(self) -> Iterator[FollowedLine]:
        while self._file is not None and (chunk := self._file.read(_CHUNK_BYTES)):
            *whole, self._rest = (self._rest + chunk).split(b"\n")
            for line in whole:
                yield self._line(line, b"\n")
            if len(self._rest) > bounds.LINE_BYTES:
                rest, self._rest = self._rest, b""
                yield self._line(rest, b"")

    def _rest_that_stays(self) -> Iterator[FollowedLine]:
        """A last line whose end does not come: whoever copied the log left it out."""
        if not self._rest or self._rest_at is None or self._rest_at[0] != self._rest:
            self._rest_at = (self._rest, time.monotonic()) if self._rest else None
        elif time.monotonic() - self._rest_at[1] >= _REST_S:
            rest, self._rest, self._rest_at = self._rest, b"", None
            yield self._line(rest, b"")

    def _line(self, text: bytes, end: bytes) -> FollowedLine:
        assert self._file is not None
        self._at += len(text) + len(end)
        self._tail = (self._tail + text[-_CHECKED_BYTES:] + end)[-_CHECKED_BYTES:]
        position = [os.fstat(self._file.fileno()).st_ino, self._at, zlib.crc32(self._tail)]
        return FollowedLine(text, None, position)

    def _is_rotated(self) -> bool:
        """Whether the name is another file's now."""
        try:
            now = self._path.stat()
        except OSError:
            return False  # away for the moment of a rotation: the old one goes on
        if self._file is None:
            return True
        mine = os.fstat(self._file.fileno())
        return (now.st_dev, now.st_ino) != (mine.st_dev, mine.st_ino)


def _is(path: Path, inode: int) -> bool:
    try:
        return path.stat().st_ino == inode
    except OSError:
        return False


def _age(path: Path) -> float:
    try:
        return -path.stat().st_mtime
    except OSError:
        return 0.0


def _before(file: BinaryIO, offset: int) -> bytes | None:
    """What stands before an offset; None where the file ends before it."""
    begin = max(0, offset - _CHECKED_BYTES)
    found = os.pread(file.fileno(), offset - begin, begin)
    return found if len(found) == offset - begin else None
