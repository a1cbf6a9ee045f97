"""Where the bytes come from: files, directories and standard input, plain or compressed.

A stream that breaks (cut short, corrupt) ends where it breaks and says why in `defect`: what came before is evidence.
"""

from __future__ import annotations

import bz2
import codecs
import errno
import io
import lzma
import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from oomscope import bounds
from oomscope.errors import BadQuestion, NoAccess, OomscopeError, Unreadable, cause_of
from oomscope.io import zstd
from oomscope.io.content import Content, Paths, reader_of
from oomscope.io.kernel_files import must_be_read_whole, read_whole
from oomscope.text import printable

CHUNK_BYTES = 1 << 18
_LEAST_READ_BYTES = 1 << 16
HEAD_BYTES = bounds.HEAD_BYTES
STDIN = "-"
# Few compressed bytes may hold much: feeding this many at a time bounds what comes out at once.
_FEED_BYTES = 1 << 10
_UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class _Reader(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Input:
    """One thing to read; `path` is None for standard input, and for `content` that a program handed in."""

    origin: str
    path: Path | None
    content: _Reader | None = None

    def open(self) -> Stream:
        """The input's bytes, decompressed. Raises NoAccess, BadQuestion or Unreadable."""
        if self.content is not None:
            return Stream(self.origin, self.content, size_bytes=None)
        if self.path is None:
            if sys.stdin is None:
                raise Unreadable("<stdin>: closed", advice="")
            return Stream(self.origin, sys.stdin.buffer, size_bytes=None)
        try:
            if must_be_read_whole(self.path):
                return Stream(self.origin, io.BytesIO(read_whole(self.path)), size_bytes=None)
            file = self.path.open("rb", buffering=0)
        except OSError as error:
            raise _translated(error, self.origin) from error
        status = os.fstat(file.fileno())
        size_bytes = status.st_size if stat.S_ISREG(status.st_mode) and status.st_size else None
        return Stream(self.origin, file, size_bytes=size_bytes)


class Stream:
    """Decompressed bytes of one input.

    `head` is its beginning, up to 1 MiB, read ahead and still to come in `chunks()`. `raw_bytes_done` of
    `raw_size_bytes` (None: unknown) have been taken from the input itself. `is_plain_file` tells that ranges of the
    file can be read by themselves. `defect` is one clause on why the stream ended early.
    """

    def __init__(self, origin: str, raw: _Reader, *, size_bytes: int | None) -> None:
        self.origin = origin
        self.raw_size_bytes = size_bytes
        self.defect: str | None = None
        self._is_begun = False
        self._counted = _Counted(raw)
        magic = self._read(self._counted, 8)
        self.compression = _compression(magic)
        self.is_plain_file = size_bytes is not None and self.compression is None
        chained = _Chained(magic, self._counted)
        self._reader: _Reader = chained if self.compression is None else _Decompressed(self.compression, chained)
        if magic.startswith(_UTF_16_MARKS):
            self._reader, self.is_plain_file = _FromUtf16(chained), False
        self.head = self._read(self._reader, HEAD_BYTES)

    @property
    def raw_bytes_done(self) -> int:
        """Bytes taken from the input so far, compressed as they are."""
        return self._counted.bytes_done

    @property
    def descriptor(self) -> int | None:
        """Where ranges of a plain file can be read; None for any other input."""
        return self._counted.raw.fileno() if self.is_plain_file and isinstance(self._counted.raw, io.IOBase) else None

    def chunks(self, *, is_bounded: bool = True) -> Iterator[bytes]:
        """The whole input from its beginning, in pieces: the head, then up to 256 KiB each.

        Where `is_bounded`, what expands as no text of a kernel does ends there. Memory may: most of it can be zeros.
        """
        expanded = len(self.head)
        if self.head:
            yield self.head
        while self.defect is None:
            chunk = self._read(self._reader, CHUNK_BYTES)
            if not chunk:
                return
            expanded += len(chunk)
            if is_bounded and expanded > max(
                bounds.FREE_EXPANSION_BYTES, bounds.STREAM_EXPANSION * self.raw_bytes_done
            ):
                self.defect = f"it expands more than {bounds.STREAM_EXPANSION:,} times: a bomb"
                return
            yield chunk

    def close(self) -> None:
        """Let the file go; standard input stays open."""
        if isinstance(self._counted.raw, io.IOBase) and (
            sys.stdin is None or self._counted.raw is not sys.stdin.buffer
        ):
            self._counted.raw.close()

    def _read(self, reader: _Reader, size: int) -> bytes:
        """Up to `size` bytes, fewer only at the end; where the stream breaks, what came before, and a defect."""
        pieces: list[bytes] = []
        have = 0
        while have < size:
            try:
                piece = reader.read(size - have)
            except _BROKEN as error:
                self.defect = _reason(error)
                break
            except OSError as error:
                if error.errno is None:  # bz2 reports corrupt data so
                    self.defect = _reason(error)
                    break
                if not pieces and not self._is_begun:
                    raise _translated(error, self.origin) from error
                self.defect = f"reading it failed after {self.raw_bytes_done:,} bytes ({cause_of(error)})"
                break
            except OomscopeError as error:  # the archive that it lies in goes beyond its bounds
                if not self._is_begun:
                    raise
                self.defect = str(error)
                break
            if not piece:
                break
            pieces.append(piece)
            self._is_begun = True
            have += len(piece)
        return b"".join(pieces)


def inputs(named: tuple[Paths | Content, ...]) -> list[Input]:
    """The files that paths name: directories are searched through, `-` is standard input; and content, as it is."""
    found: list[Input] = []
    for given in named:
        if not isinstance(given, str | os.PathLike):
            found.append(Input(*_of_content(given)))
            continue
        named_by = os.fspath(given)
        if not named_by:
            raise BadQuestion("an empty name: give a path")
        if isinstance(named_by, str) and "\n" in named_by:
            raise BadQuestion(
                f"{printable(named_by[:40].encode())}...: a str is a path; give text as lines or as bytes"
            )
        if named_by == STDIN:
            found.append(Input("<stdin>", None))
            continue
        path = Path(given)
        try:
            is_directory = path.is_dir()
            if not is_directory and not path.exists():
                raise BadQuestion(f"{path}: no such file or directory")
        except OSError as error:
            raise _translated(error, str(path)) from error
        found.extend(_files_below(path) if is_directory else [Input(_shown(path), path)])
    return found


def _of_content(given: Content) -> tuple[str, None, _Reader]:
    origin, reader = reader_of(given)
    return origin, None, reader


def _files_below(directory: Path) -> list[Input]:
    found: list[Input] = []
    problems: list[OSError] = []
    for folder, folders, names in os.walk(directory, onerror=problems.append):
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_file():
                found.append(Input(_shown(path), path))
            if len(found) > bounds.FOLDER_FILES:
                raise BadQuestion(f"{directory}: more than {bounds.FOLDER_FILES:,} files; name the ones of one machine")
    if problems and not found:
        raise _translated(problems[0], str(directory)) from problems[0]
    return found


def _shown(path: Path) -> str:
    """A path as people may see it: a file name can hold anything but a slash."""
    return printable(os.fsencode(path))


class _Counted:
    """Counts what is taken from the raw input, which is always asked for much.

    page_owner's file refuses a read that has no room for the next record, however much it gave before.
    """

    def __init__(self, raw: _Reader) -> None:
        self.raw = raw
        self.bytes_done = 0
        self._ahead = b""

    def read(self, size: int = -1, /) -> bytes:
        if not self._ahead:
            self._ahead = self.raw.read(size if size < 0 else max(size, _LEAST_READ_BYTES))
        data, self._ahead = (self._ahead, b"") if size < 0 else (self._ahead[:size], self._ahead[size:])
        self.bytes_done += len(data)
        return data


class _Chained:
    """Bytes already read, then the rest."""

    def __init__(self, before: bytes, rest: _Reader) -> None:
        self._before = before
        self._rest = rest

    def read(self, size: int = -1, /) -> bytes:
        if self._before:
            taken = self._before if size < 0 else self._before[:size]
            self._before = self._before[len(taken) :]
            return taken
        return self._rest.read(size)


class _FromUtf16:
    """Text that a Windows terminal has written, as the UTF-8 it was."""

    def __init__(self, raw: _Reader) -> None:
        self._raw = raw
        self._decoder = codecs.getincrementaldecoder("utf-16")(errors="replace")
        self._ready = b""

    def read(self, size: int, /) -> bytes:
        while not self._ready:
            data = self._raw.read(CHUNK_BYTES)
            self._ready = self._decoder.decode(data, final=not data).encode()
            if not data:
                break
        taken, self._ready = self._ready[:size], self._ready[size:]
        return taken


class _Frame(Protocol):
    """One compressed stream of any kind, as zlib, bz2, lzma and zstandard all have it."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: memoryview, /) -> bytes: ...


_MAGIC = {"gzip": b"\x1f\x8b", "xz": b"\xfd7zXZ\x00", "bzip2": b"BZh", "zstd": b"\x28\xb5\x2f\xfd"}
_GZIP_WINDOW_BITS = 31
# What makes the frames of one input.
_FRAMES: dict[str, Callable[[], Callable[[], _Frame]]] = {
    "gzip": lambda: lambda: cast(_Frame, zlib.decompressobj(_GZIP_WINDOW_BITS)),
    "xz": lambda: lzma.LZMADecompressor,
    "bzip2": lambda: bz2.BZ2Decompressor,
    "zstd": zstd.frames,
}
_BROKEN = (EOFError, zlib.error, lzma.LZMAError, zstd.ERROR)


class _Decompressed:
    """Compressed streams one after another, read to the last byte that can be had of a broken one.

    The file objects of the standard library drop what they had decoded when they meet the end of a cut stream.
    """

    def __init__(self, compression: str, raw: _Reader) -> None:
        self._compression = compression
        self._raw = raw
        self._new_frame = _FRAMES[compression]()
        self._frame = self._new_frame()
        self._within_frame = False
        self._compressed = memoryview(b"")
        self._ready = memoryview(b"")

    def read(self, size: int, /) -> bytes:
        while not self._ready:
            if not self._compressed:
                self._compressed = memoryview(self._raw.read(CHUNK_BYTES))
                if not self._compressed:
                    if self._within_frame:
                        raise EOFError
                    return b""
            fed = self._compressed[:_FEED_BYTES]
            self._ready = memoryview(self._frame.decompress(fed))
            self._within_frame = not self._frame.eof
            used = len(fed) - (len(self._frame.unused_data) if self._frame.eof else 0)
            self._compressed = self._compressed[used:]
            if self._frame.eof:
                self._next_frame()
        taken, self._ready = self._ready[:size], self._ready[size:]
        return taken.tobytes()

    def _next_frame(self) -> None:
        """What stands behind a stream is the next one; zeros are padding, anything else is none of it."""
        magic = _MAGIC[self._compression]
        if self._compressed[: len(magic)] != magic:
            behind = (self._compressed.tobytes() or self._raw.read(CHUNK_BYTES)).lstrip(b"\0")
            if len(behind) < len(magic):
                behind += self._raw.read(CHUNK_BYTES)
            self._compressed = memoryview(behind if behind.startswith(magic) else b"")
            if not self._compressed:
                self._raw = io.BytesIO()
        self._frame = self._new_frame()


def _reason(error: Exception) -> str:
    if isinstance(error, EOFError):
        return "the compressed stream is cut short"
    return f"the compressed stream is corrupt ({error})"


def _compression(magic: bytes) -> str | None:
    return next((name for name, prefix in _MAGIC.items() if magic.startswith(prefix)), None)


def _translated(error: OSError, origin: str) -> Exception:
    reason = cause_of(error)
    if error.errno in (errno.EACCES, errno.EPERM):
        return NoAccess(f"{origin}: {reason}")
    if error.errno == errno.EINVAL and "page_owner" in origin:
        return NoAccess(
            f"{origin}: the kernel refuses to read it: page_owner is not switched on",
            advice="boot with page_owner=on",
        )
    if error.errno in (errno.ENOENT, errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP):
        return BadQuestion(f"{origin}: {reason}")
    return Unreadable(f"{origin}: {reason}", advice="")
