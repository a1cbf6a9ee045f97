"""Places that fsspec reads and writes: folders of this machine, object stores, and whatever else it knows."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import fsspec

from oomscope.errors import NotOffered


def store(place: str) -> tuple[Any, str]:
    """What lists, reads and writes there, and the place by its own names. Raises NotOffered, OSError."""
    try:
        with as_os_errors(ImportError, ValueError):
            system, path = fsspec.core.url_to_fs(place)
    except (ImportError, ValueError) as error:
        raise NotOffered(f"{place}: {error}", advice="pip install what it names") from error
    return system, path


@contextmanager
def as_os_errors(*as_they_are: type[Exception]) -> Iterator[None]:
    """Each kind of store has errors of its own: to its reader they are all the system's."""
    kept: tuple[type[Exception], ...] = (OSError, *as_they_are)
    try:
        yield
    except kept:
        raise
    except Exception as error:  # the stores share no class of errors
        raise OSError(errno.EIO, str(error).partition("\n")[0] or type(error).__name__) from error
