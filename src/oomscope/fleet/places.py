"""Files of cases, wherever they lie: this machine's folders, or any URL that fsspec reads (s3, gcs, ...)."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import fsspec
from fsspec.implementations.local import LocalFileSystem

from oomscope.errors import BadQuestion, NotOffered
from oomscope.sources.base import printable

_CHUNK_BYTES = 1 << 20
_OF_CONTENT = ("ETag", "etag", "md5Hash", "crc32c")
_OF_TIME = ("VersionId", "mtime", "LastModified", "updated", "created")
_MODIFIED = ("mtime", "LastModified", "updated", "modified", "created")  # what each kind of store calls it


@dataclass(frozen=True, slots=True)
class File:
    """A file below a place, or what stands there and cannot be read: `problem` says why, and is empty otherwise.

    `url` is the path or URL of the file itself, `relative` its path below the place. `modified` is in seconds of the
    epoch, None where it is not told.
    """

    url: str
    relative: str
    size_bytes: int
    modified: float | None
    problem: str = ""


def is_remote(place: str) -> bool:
    """Whether a place is a URL and not a path of this machine."""
    return "://" in place


def files(place: str) -> list[File]:
    """All files at or below a place, in the order of their names; links to folders are told and not followed.

    Raises BadQuestion where there is nothing, NotOffered for a kind of URL that nothing here can read.
    """
    if not place:
        raise BadQuestion("an empty path names nothing")
    place = place if is_remote(place) else os.path.abspath(place)
    try:
        system, path = _system(place)
        with _translated():
            entry = system.info(path)
    except FileNotFoundError:
        raise BadQuestion(f"{shown(place)}: no such file or directory") from None
    except OSError as error:
        return [File(place, "", 0, None, reason_of(error))]
    if _is_folder(entry):
        return sorted(_below(system, place, path), key=lambda file: file.relative.split("/"))
    return [_file(system, entry, place, "")]


@contextmanager
def fetched(urls: tuple[tuple[str, str], ...]) -> Iterator[Path]:
    """Files, each with its path below the case, as paths of this machine: one file, or the folder that has them all.

    What lies here already is used where it lies; what does not keeps the names of the two folders it lies in, which
    some files are known by. Raises OSError.
    """
    place = common_place(urls)
    if not is_remote(place):
        yield Path(place or "/")
        return
    with tempfile.TemporaryDirectory(prefix="oomscope-") as work:
        above = [part for part in place.partition("://")[2].split("/") if part not in ("", ".", "..")][-3:]
        here = Path(work, *above)
        for url, relative in urls:
            target = here / relative if relative else here
            if ".." in target.relative_to(work).parts:
                raise OSError(errno.EINVAL, f"a name that leads out of its folder: {shown(relative)}")
            system, path = _system(url)
            target.parent.mkdir(parents=True, exist_ok=True)
            with _translated():
                system.get_file(path, str(target))
        yield here


def head(url: str, size: int) -> bytes:
    """The first bytes of a file. Raises OSError."""
    system, path = _system(url)
    with _translated(), system.open(path, "rb") as file:
        return bytes(file.read(size))


def digest(url: str) -> str:
    """What names a file's content: its bytes here; elsewhere what the store says of it (an ETag, a time), unread.

    Empty where a store says nothing that changes with the content. Raises OSError.
    """
    system, path = _system(url)
    if not isinstance(system, LocalFileSystem):
        with _translated():
            entry = system.info(path)
        sums = {name: entry[name] for name in _OF_CONTENT if entry.get(name) is not None}
        times = {name: entry[name] for name in _OF_TIME if entry.get(name) is not None}
        if not sums and not times:
            return ""
        return f"{type(system).__name__} {entry.get('size')} {sums or (url, times)}"
    found = hashlib.blake2b(digest_size=16)
    with Path(path).open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK_BYTES):
            found.update(chunk)
    return found.hexdigest()


def state(url: str) -> tuple[int, int] | None:
    """What tells that a file of this machine was written to meanwhile; None elsewhere. Raises OSError."""
    if is_remote(url):
        return None
    found = os.stat(url)
    return found.st_size, found.st_mtime_ns


def identity(url: str) -> str:
    """The same for all names of one file of this machine, hard links too; a URL is its own."""
    if is_remote(url):
        return url
    try:
        found = os.stat(url)
    except OSError:
        return os.path.realpath(url)
    is_linked = stat.S_ISREG(found.st_mode) and found.st_nlink > 1
    return f"inode {found.st_dev} {found.st_ino}" if is_linked else os.path.realpath(url)


def link(url: str) -> str:
    """Something to click on that leads to a file or folder."""
    return url if is_remote(url) else "file://" + quote(url, errors="surrogateescape")


def common_place(urls: tuple[tuple[str, str], ...]) -> str:
    """The one file, or the folder that has them all."""
    url, relative = urls[0]
    return url[: len(url) - len(relative)].rstrip("/") if relative else url


def shown(text: str) -> str:
    """A path as people may see it: a file name can hold anything but a slash."""
    return printable(text.encode("utf-8", "surrogateescape"))


def reason_of(error: OSError) -> str:
    """Why something could not be read, in one clause."""
    return shown((error.strerror or str(error)).partition("\n")[0].lower())


def _system(place: str) -> tuple[Any, str]:
    """What can list and read there, and the place by its own names; file systems are made once per process."""
    if not is_remote(place):
        return _here(), place
    try:
        with _translated(ImportError, ValueError):
            system, path = fsspec.core.url_to_fs(place)
    except (ImportError, ValueError) as error:
        raise NotOffered(f"{shown(place)}: {error}", advice="pip install what it names") from error
    return system, path


@contextmanager
def _translated(*as_they_are: type[Exception]) -> Iterator[None]:
    """Each kind of store has errors of its own: to its reader they are all the system's."""
    kept: tuple[type[Exception], ...] = (OSError, *as_they_are)
    try:
        yield
    except kept:
        raise
    except Exception as error:  # the stores share no class of errors
        text = str(error).partition("\n")[0] or type(error).__name__
        raise OSError(errno.EIO, text) from error


@cache
def _here() -> Any:
    return LocalFileSystem()


def _is_folder(entry: dict[str, Any]) -> bool:
    return bool(entry["type"] == "directory")


def _below(system: Any, place: str, path: str) -> Iterator[File]:
    left = [(path, "")]
    while left:
        folder, relative = left.pop()
        try:
            with _translated():
                entries = system.ls(folder, detail=True)
        except OSError as error:
            reason = f"the folder cannot be looked into: {reason_of(error)}"
            yield File(_url(place, relative), relative, 0, None, reason)
            continue
        for entry in entries:
            name = entry["name"].rstrip("/").rpartition("/")[2]
            if not name or entry["name"].rstrip("/") == folder.rstrip("/"):
                continue  # object stores keep an empty object for a folder
            below = f"{relative}/{name}" if relative else name
            if name in (".", ".."):
                yield File(_url(place, below), below, 0, None, "a name that leads out of its folder")
            elif _is_folder(entry):
                left.append((entry["name"], below))
            else:
                yield _file(system, entry, place, below)


def _file(system: Any, entry: dict[str, Any], place: str, relative: str) -> File:
    modified = next((entry[name] for name in _MODIFIED if entry.get(name) is not None), None)
    if isinstance(modified, datetime):
        modified = modified.timestamp()
    modified = float(modified) if isinstance(modified, int | float) else None
    problem = _problem(entry) if isinstance(system, LocalFileSystem) else ""
    return File(_url(place, relative), relative, int(entry.get("size") or 0), modified, problem)


def _problem(entry: dict[str, Any]) -> str:
    """Why something of this machine is no file to read."""
    if entry["type"] == "file":
        return ""
    try:
        mode = os.stat(entry["name"]).st_mode
    except OSError as error:
        return f"a link that leads nowhere: {reason_of(error)}"
    if stat.S_ISDIR(mode):
        return "a link to a folder: it is not followed"
    return "" if stat.S_ISREG(mode) else "neither a file nor a folder"


def _url(place: str, relative: str) -> str:
    return f"{place.rstrip('/')}/{relative}" if relative else place
