"""Where an answer goes: standard output, a file that is whole or as it was before, a device or a pipe.

What cannot work is said before anything is read (`require`). Everything that the system refuses is OutputFailed, exit
code 5; a reader that has left ends the command quietly, exit code 0.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import IO

from oomscope.errors import BadQuestion, OutputFailed, cause_of
from oomscope.io import whole_file

_NOT_FOR_A_TERMINAL = ("html", "pprof", "parquet")


def place(output: str | None) -> str | None:
    """The file that is meant; None for standard output, which `-` is, too."""
    return None if output in (None, "-") else output


def require(output: str | None, form: str = "text") -> None:
    """That an answer in this form can be made and has a place to go. Raises BadQuestion, NotOffered, OutputFailed."""
    require_extra(form)
    if output is None:
        if sys.stdout is None:
            raise OutputFailed("standard output is closed")
        if form in _NOT_FOR_A_TERMINAL and sys.stdout.isatty():
            what = "an HTML page" if form == "html" else form
            raise BadQuestion(f"{what} is not for a terminal", advice="give it a file: -o FILE")
        return
    try:
        whole_file.require(output)
    except OSError as error:
        raise _failed(output, error) from error


def require_extra(form: str) -> None:
    """That what a form needs is installed. Raises NotOffered."""
    if form == "html":
        from oomscope.report import page

        page.require()
    elif form == "parquet":
        from oomscope.export import tables

        tables.require_arrow()


def write(pieces: Iterable[str | bytes], output: str | None) -> None:
    """Write an answer where it belongs. Raises OutputFailed; what stood there before is there still, then."""
    if output is None:
        to_stdout(pieces)
        return
    try:
        with whole_file.opened(output) as file:
            _fill(file, pieces)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:
        raise _failed(output, error) from error


def say(text: str) -> None:
    """A line on standard output. Raises OutputFailed."""
    to_stdout([f"{text}\n"])


def to_stdout(pieces: Iterable[str | bytes]) -> None:
    """Write to standard output, in UTF-8 whatever the locale says. Raises OutputFailed."""
    if sys.stdout is None:
        raise OutputFailed("standard output is closed")
    try:
        _fill(sys.stdout.buffer, pieces)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        _mute(sys.stdout)  # nothing more to say, and nothing to say it to: not even when Python flushes at exit
        sys.exit(0)
    except OSError as error:
        _mute(sys.stdout)
        raise _failed("standard output", error) from error


def _fill(file: IO[bytes], pieces: Iterable[str | bytes]) -> None:
    for piece in pieces:
        left = memoryview(piece.encode("utf-8", "backslashreplace") if isinstance(piece, str) else piece)
        while left:
            written = file.write(left)
            left = left[written:]


def _mute(stream: IO[str]) -> None:
    """What a stream still holds goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _failed(what: str, error: OSError) -> OutputFailed:
    return OutputFailed(f"{what}: {cause_of(error)}")
