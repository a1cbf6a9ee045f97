"""Places that fsspec reads and writes: folders of this machine, object stores, and whatever else it knows."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import fsspec

from oomscope.errors import NotOffered

# What lies within another place, which fsspec joins to it by colons: `zip://kern.log::s3://bucket/case.zip`.
_WITHIN = {"zip", "tar", "libarchive", "simplecache", "filecache", "blockcache", "cached", "dir", "reference"}


def store(place: str) -> tuple[Any, str]:
    """What lists, reads and writes there, and the place by its own names. Raises NotOffered, OSError."""
    try:
        with as_os_errors(ImportError, ValueError):
            protocol, _, rest = place.partition("://")
            if "::" in rest and "://" not in rest and not {*protocol.split("::")} & _WITHIN:  # a name with colons
                kind = fsspec.get_filesystem_class(protocol)
                return kind(**kind._get_kwargs_from_urls(place)), kind._strip_protocol(place)
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
    except FileNotFoundError as error:
        # So fsspec tells of a web server that is not there, refuses or fails, too; what was wrong stands behind it.
        cause = error.__cause__
        is_there = getattr(cause, "status", 404) != 404
        no_answer = isinstance(cause, TimeoutError) or getattr(cause, "errno", None) not in (None, errno.ENOENT)
        if cause is None or not (is_there or no_answer):
            raise
        raise OSError(errno.EIO, _one_line(cause)) from error
    except kept:
        raise
    except Exception as error:  # the stores share no class of errors
        raise OSError(errno.EIO, _one_line(error)) from error


def _one_line(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
