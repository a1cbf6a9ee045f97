"""Where an answer goes: standard output, a file that is whole or as it was before, a device or a pipe.

What cannot work is said before anything is read (`require`). Everything that the system refuses is OutputFailed, exit
code 5; a reader that has left ends the command quietly, exit code 0.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from oomscope.errors import BadQuestion, OutputFailed, cause_of

_MOST_LINKS = 40  # as the kernel follows, MAXSYMLINKS
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
    path = Path(output) if _is_stream(output) else Path(os.path.realpath(output))  # a link may lead to a new file
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if path.exists():
            allowed = os.access(path, os.W_OK)
        else:
            path.parent.stat()
            allowed = os.access(path.parent, os.W_OK | os.X_OK)
        if not allowed:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
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
        if _is_stream(output):
            with Path(output).open("ab", buffering=0) as stream:
                _fill(stream, pieces)
            return
        with whole(Path(os.path.realpath(output))) as file:
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


@contextmanager
def whole(path: Path) -> Iterator[IO[bytes]]:
    """A file that stands at `path` once it is whole: what was there is worth more than half of it. Raises OSError.

    It is made beside, and put into its place. Where nothing may be put beside it, or it is more than a name in its
    folder (another's, a mount, a hard link), room for the new content is taken first, and the content replaced then.
    """
    try:
        made = tempfile.NamedTemporaryFile(dir=path.parent, prefix=".oomscope-", delete=False)  # noqa: SIM115
    except OSError:
        with tempfile.TemporaryFile() as made_elsewhere:
            yield made_elsewhere
            _replace_content(path, made_elsewhere)
        return
    beside = Path(made.name)
    try:
        with made:
            yield made
            made.flush()
            os.fsync(made.fileno())
            there = path.stat() if path.exists() else None
            if there is not None and (there.st_nlink > 1 or there.st_uid != os.geteuid() or path.is_mount()):
                _replace_content(path, made)
                return
            os.fchmod(made.fileno(), 0o666 & ~_umask() if there is None else there.st_mode & 0o7777)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _is_stream(output: str) -> bool:
    """Whether this is a device, a pipe, or a name that the system has for an open file, or a link to one of them."""
    path = Path(output)
    for _ in range(_MOST_LINKS):
        if str(path).startswith(("/dev/", "/proc/")) or (path.exists() and not path.is_file() and not path.is_dir()):
            return not path.is_dir()
        if not path.is_symlink():
            return False
        path = path.parent / path.readlink()
    return False


def _replace_content(path: Path, made: IO[bytes]) -> None:
    size = made.seek(0, os.SEEK_END)
    made.seek(0)
    with path.open("r+b" if path.exists() else "xb") as file:
        before = os.fstat(file.fileno()).st_size
        if size > before:
            try:
                os.posix_fallocate(file.fileno(), before, size - before)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                    os.ftruncate(file.fileno(), before)
                    raise
        shutil.copyfileobj(made, file)
        file.truncate(size)


def _fill(file: IO[bytes], pieces: Iterable[str | bytes]) -> None:
    for piece in pieces:
        left = memoryview(piece.encode("utf-8", "backslashreplace") if isinstance(piece, str) else piece)
        while left:
            written = file.write(left)
            left = left[written:]


def _mute(stream: IO[str]) -> None:
    """What a stream still holds goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _failed(what: str, error: OSError) -> OutputFailed:
    return OutputFailed(f"{what}: {cause_of(error)}")
