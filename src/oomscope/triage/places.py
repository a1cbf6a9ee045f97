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
from urllib.parse import quote, unquote

from fsspec.implementations.local import LocalFileSystem

from oomscope.errors import BadQuestion
from oomscope.io.object_store import as_os_errors, store
from oomscope.text import printable

_CHUNK_BYTES = 1 << 20
_LOCAL = "file://"
_LEADS_OUT = "a name that leads out of its folder"
_OF_CONTENT = ("ETag", "etag", "md5Hash", "crc32c")
_OF_TIME = ("VersionId", "mtime", "LastModified", "updated", "created")
_MODIFIED = ("mtime", "LastModified", "updated", "modified", "created")  # what each kind of store calls it


_SMALL_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class File:
    """A file below a place, or what stands there and cannot be read: `problem` says why, and is empty otherwise.

    `url` is the path or URL of the file itself, `relative` its path below the place. `modified_s` is in seconds of the
    epoch, None where it is not told. `mark` is what a store says of the content (an ETag, a time), empty where it says
    nothing that changes with it, and for files of this machine, whose bytes can be had. `is_small` is told of files of
    this machine alone.
    """

    url: str
    relative: str
    modified_s: float | None
    mark: str = ""
    problem: str = ""
    is_small: bool = False


def is_remote(place: str) -> bool:
    """Whether a place is a URL and not a path of this machine."""
    return "://" in place


def named(place: str) -> str:
    """A place as the beginning of its cases' names; one that begins above the working directory is named whole."""
    if is_remote(place):
        return place
    path = os.path.normpath(place)
    return (os.path.abspath(path) if path in (".", "..") or path.startswith("../") else path).lstrip("/")


def files(place: str) -> list[File]:
    """All files at or below a place, in the order of their names; links to folders are told and not followed.

    Raises BadQuestion where there is nothing, NotOffered for a kind of URL that nothing here can read.
    """
    if not place:
        raise BadQuestion("an empty path names nothing")
    if place.startswith(_LOCAL):
        place = unquote(place.removeprefix(_LOCAL))
    place = place if is_remote(place) else os.path.abspath(place)
    try:
        system, path = _system(place)
        with as_os_errors():
            entry = system.info(path)
    except FileNotFoundError:
        raise BadQuestion(f"{shown(place)}: no such file or directory") from None
    except OSError as error:
        return [File(place, "", None, problem=reason_of(error))]
    if _is_folder(entry) or (_is_web(place) and place.endswith("/")):  # where a page stands for a folder
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
                raise OSError(errno.EINVAL, f"{_LEADS_OUT}: {shown(relative)}")
            system, path = _system(url)
            target.parent.mkdir(parents=True, exist_ok=True)
            with as_os_errors():
                system.get_file(path, str(target))
        yield here


def head(url: str, size: int) -> bytes:
    """The first bytes of a file. Raises OSError."""
    system, path = _system(url)
    with as_os_errors(), system.open(path, "rb") as file:
        return bytes(file.read(size))


def beginning(file: File, size: int, size_of_bzip2: int, *, whole: bool) -> tuple[bytes, str]:
    """The first bytes of a file, and with `whole` what names its content, in one go; that is empty where nothing does.

    Content is named by its bytes here, elsewhere by what the store has said of it. Of a bzip2 file, which shows nothing
    of itself before a block of it is there, `size_of_bzip2` are read. Raises OSError.
    """
    system, path = _system(file.url)
    found = hashlib.blake2b(digest_size=16)
    with as_os_errors(), system.open(path, "rb") as opened:
        head = bytes(opened.read(size))
        if head.startswith(b"BZh"):
            head += bytes(opened.read(size_of_bzip2 - len(head)))
        if not whole or is_remote(file.url):
            return head, file.mark if whole else ""
        found.update(head)
        while chunk := opened.read(_CHUNK_BYTES):
            found.update(chunk)
    return head, found.hexdigest()


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
    """What can list and read there, and the place by its own names."""
    return store(place) if is_remote(place) else (_here(), place)


@cache
def _here() -> Any:
    return LocalFileSystem()


def _is_web(place: str) -> bool:
    return place.startswith(("http://", "https://"))


def _is_folder(entry: dict[str, Any]) -> bool:
    return bool(entry["type"] == "directory")


def _below(system: Any, place: str, path: str) -> Iterator[File]:
    left = [(path, "")]
    while left:
        folder, relative = left.pop()
        try:
            with as_os_errors():
                entries = system.ls(folder, detail=True)
        except OSError as error:
            reason = f"the folder cannot be looked into: {reason_of(error)}"
            yield File(_url(place, relative), relative, None, problem=reason)
            continue
        for entry in entries:
            name = entry["name"].rstrip("/").rpartition("/")[2]
            if not name or entry["name"].rstrip("/") == folder.rstrip("/"):
                continue  # object stores keep an empty object for a folder
            if name.startswith("?") and _is_web(place):
                continue  # the page of a folder links to itself, sorted otherwise
            below = f"{relative}/{name}" if relative else name
            if name in (".", ".."):
                yield File(_url(place, below), below, None, problem=_LEADS_OUT)
            elif _is_folder(entry):
                left.append((entry["name"], below))
            else:
                yield _file(system, entry, place, below)


def _file(system: Any, entry: dict[str, Any], place: str, relative: str) -> File:
    url = _url(place, relative)
    if isinstance(system, LocalFileSystem):
        is_small = entry["size"] is not None and entry["size"] <= _SMALL_BYTES
        return File(url, relative, _modified_s(url), problem=_problem(entry), is_small=is_small)
    modified = next((entry[name] for name in _MODIFIED if entry.get(name) is not None), None)
    if isinstance(modified, datetime):
        modified = modified.timestamp()
    modified_s = float(modified) if isinstance(modified, int | float) else None
    return File(url, relative, modified_s, mark=_mark(system, entry, url))


def _modified_s(path: str) -> float | None:
    """When a file of this machine was written to, by whatever link it is reached."""
    try:
        return os.stat(path).st_mtime
    except OSError:
        return None


def _mark(system: Any, entry: dict[str, Any], url: str) -> str:
    """A checksum, which is the same for equal contents; else the file's own name and times."""
    sums = {name: entry[name] for name in _OF_CONTENT if entry.get(name) is not None}
    times = {name: entry[name] for name in _OF_TIME if entry.get(name) is not None}
    if not sums and not times:
        return ""
    return f"{type(system).__name__} {entry.get('size')} {sums or (url, times)}"


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
