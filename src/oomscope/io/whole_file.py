"""A file that is written whole or not at all; and what is no such file: devices, pipes, names of open files."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_MOST_LINKS = 40  # as the kernel follows, MAXSYMLINKS


@contextmanager
def opened(output: str | os.PathLike[str], *, mode: int | None = None) -> Iterator[IO[bytes]]:
    """Something to write an answer into: a file that stands there once it is whole, or a stream. Raises OSError.

    `mode` is a new file's, as chmod has it; None: what the umask leaves.
    """
    if is_stream(output):
        with Path(output).open("ab", buffering=0) as stream:
            yield stream
        return
    with _whole(Path(os.path.realpath(output)), mode) as file:  # a link may lead to what is not there yet
        yield file


def require(output: str | os.PathLike[str]) -> None:
    """That something can be written there. Raises OSError."""
    path = Path(output) if is_stream(output) else Path(os.path.realpath(output))
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if path.exists():
        allowed = os.access(path, os.W_OK)
    else:
        path.parent.stat()
        allowed = path.parent.is_dir() and os.access(path.parent, os.W_OK | os.X_OK)
    if not allowed:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def is_stream(output: str | os.PathLike[str]) -> bool:
    """Whether this is a device, a pipe, or a name that the system has for an open file, or a link to one of them."""
    path = Path(output)
    for _ in range(_MOST_LINKS):
        is_special = str(path).startswith(("/dev/", "/proc/")) or (path.exists() and not path.is_file())
        if is_special:
            return not path.is_dir() and path.exists()
        if not path.is_symlink():
            return False
        path = path.parent / path.readlink()
    return False


@contextmanager
def _whole(path: Path, mode: int | None) -> Iterator[IO[bytes]]:
    """What was there is worth more than half of what comes.

    The new file is made beside, and put into its place. Where nothing may be put beside it, or it is more than a name
    in its folder (another's, a mount, a hard link), room is taken first, and the content replaced then.
    """
    try:
        made = tempfile.NamedTemporaryFile(dir=path.parent, prefix=".oomscope-", delete=False)  # noqa: SIM115
    except OSError:
        if not path.exists():
            raise
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
            kept = (0o666 & ~_umask()) if there is None else there.st_mode & 0o7777
            os.fchmod(made.fileno(), kept if mode is None else mode)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _replace_content(path: Path, made: IO[bytes]) -> None:
    size = made.seek(0, os.SEEK_END)
    made.seek(0)
    with path.open("r+b") as file:
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


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
