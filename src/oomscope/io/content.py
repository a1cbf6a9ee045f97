"""Content that a program hands in instead of a file's name: bytes, an open file, or lines."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from typing import Any

from oomscope.errors import BadQuestion, Unreadable

# What an input may be: a path (str, Path), content (bytes, an open file), or an iterable of lines.
Content = bytes | bytearray | memoryview | Iterable[str] | Iterable[bytes]
Paths = str | os.PathLike[str]


_END = object()  # of the lines


class ContentReader:
    """The bytes of an open file or of lines, as they are asked for; text becomes UTF-8.

    Lines of a list have no line ends; those of an open file have: each piece gets one where it has none.
    """

    def __init__(self, given: Any) -> None:
        self._file = given if hasattr(given, "read") else None
        self._lines: Iterator[object] = iter(()) if self._file is not None else iter(given)
        self._ready = b""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; none at the end. Raises BadQuestion for what are no lines."""
        if self._file is not None and not self._ready:
            try:
                self._ready = _encoded(self._file.read(size))
            except (ValueError, TypeError) as error:  # closed, not open for reading, or no such method
                raise Unreadable(
                    f"<file>: it cannot be read: {error}", advice="open it for reading, in binary"
                ) from error
        pieces, have = [self._ready], len(self._ready)
        while self._file is None and have < size and (line := self._next_line()) is not _END:
            piece = _encoded(line)
            pieces.append(piece if piece.endswith(b"\n") else piece + b"\n")
            have += len(pieces[-1])
        together = b"".join(pieces)
        self._ready = together[size:]
        return together[:size]

    def _next_line(self) -> object:
        try:
            return next(self._lines, _END)
        except OSError:
            raise
        except Exception as error:  # whatever the caller's own iterator raises
            raise Unreadable(f"<lines>: they cannot be read: {error}", advice="") from error


def reader_of(given: Content) -> tuple[str, Any]:
    """What to call it, and where to read it. Raises BadQuestion for what is neither."""
    if isinstance(given, bytes | bytearray | memoryview):
        return "<bytes>", io.BytesIO(bytes(given))
    if hasattr(given, "read"):
        given = getattr(given, "buffer", given)  # of a file opened as text, whatever its encoding
        name = getattr(given, "name", None)
        return name if isinstance(name, str) else "<file>", ContentReader(given)
    if not isinstance(given, Iterable):
        raise BadQuestion(f"an input of {type(given).__name__}: give a path, bytes, an open file, or lines of text")
    return "<lines>", ContentReader(given)


def _encoded(piece: object) -> bytes:
    if isinstance(piece, str):
        return piece.encode("utf-8", "backslashreplace")
    if isinstance(piece, bytes | bytearray | memoryview):
        return bytes(piece)
    raise BadQuestion(f"an input of {type(piece).__name__}: give a path, bytes, an open file, or lines of text")
