"""Which files make a case: found below the places that were named, each with what its folders say of it.

A log or an archive is a case of its own. A folder is one case with all below it where a file lies in it that needs
company (page_owner, a core dump, meminfo, ...): what each file is, its content tells. Whoever knows better says so:
each file is a case, or each folder directly below a place is one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from oomscope.fleet import places
from oomscope.fleet.places import File
from oomscope.sources import archive, recognise
from oomscope.sources.base import printable
from oomscope.sources.console_log import ConsoleLog
from oomscope.sources.input import Stream

AUTO, EACH_FILE, EACH_FOLDER = "auto", "file", "folder"
GROUPINGS = (AUTO, EACH_FILE, EACH_FOLDER)

ALONE, NEEDS_COMPANY, UNREADABLE = "alone", "needs company", "unreadable"
_HEAD_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look at one file told: whether it is a case by itself, and its content's name, empty if not asked for."""

    kind: str
    digest: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Unit:
    """A case to be explained: its files as (URL, path below the case), the path empty for a case of one file.

    `name` is unique in a triage; `folder` is as much of it as names folders. `digest` names the content, empty where
    none is known. `problem` says why there is nothing to explain.
    """

    name: str
    folder: str
    files: tuple[tuple[str, str], ...]
    modified: float | None
    digest: str
    problem: str = ""

    @property
    def place(self) -> str:
        """The file, or the folder that has them all."""
        url, relative = self.files[0]
        return url[: len(url) - len(relative)].rstrip("/") if relative else url


def look(file: File, *, whole: bool) -> Looked:
    """What kind of file it is, by its beginning; with `whole`, its content's name, too."""
    if file.problem:
        return Looked(UNREADABLE, "", file.problem)
    try:
        beginning = _Once(places.head(file.url, _HEAD_BYTES))
        stream = Stream(file.relative, beginning, size_bytes=None)
        kind = ALONE
        if archive.kind_of(stream.head) is None:
            source = recognise(stream.head)
            kind = ALONE if source is None or isinstance(source, ConsoleLog) else NEEDS_COMPANY
        return Looked(kind, places.digest(file.url) if whole else "")
    except OSError as error:
        return Looked(UNREADABLE, "", (error.strerror or str(error)).lower())


def units(files: Iterable[tuple[File, Looked]], grouping: str, prefix: str = "") -> Iterator[Unit]:
    """The cases that files of one place make, in the order of the files; `prefix` goes before their names."""
    found = list(files)
    whole = _case_folders(found, grouping)
    held: list[tuple[File, Looked]] = []
    held_folder = ""
    for file, looked in found:
        folder = next((each for each in _folders_of(file.relative) if each in whole), None)
        if held and folder != held_folder:
            yield _of_folder(held_folder, held, prefix)
            held = []
        if folder is None:
            yield _of_file(file, looked, prefix)
        else:
            held.append((file, looked))
            held_folder = folder
    if held:
        yield _of_folder(held_folder, held, prefix)


def with_distinct_names(found: Iterable[Unit]) -> Iterator[Unit]:
    """The same, a second case of one name called `name~2`."""
    seen: dict[str, int] = {}
    for unit in found:
        seen[unit.name] = number = seen.get(unit.name, 0) + 1
        yield unit if number == 1 else replace(unit, name=f"{unit.name}~{number}")


def _case_folders(found: list[tuple[File, Looked]], grouping: str) -> set[str]:
    """Folders that are one case; a folder within one belongs to it (the outermost is asked first)."""
    if grouping == EACH_FILE:
        return set()
    if grouping == EACH_FOLDER:
        return {file.relative.partition("/")[0] for file, _ in found if "/" in file.relative}
    return {_folder_of(file.relative) for file, looked in found if looked.kind == NEEDS_COMPANY and file.relative}


def _folders_of(relative: str) -> Iterator[str]:
    """All folders that a path lies in, the outermost first; the place itself is ""."""
    if not relative:
        return
    yield ""
    parts = relative.split("/")[:-1]
    for count in range(1, len(parts) + 1):
        yield "/".join(parts[:count])


def _folder_of(relative: str) -> str:
    return relative.rpartition("/")[0]


def _of_file(file: File, looked: Looked, prefix: str) -> Unit:
    name = _named(prefix, file.relative) or file.url.rstrip("/").rpartition("/")[2]
    # Some files do not say of which cache or disk they are, but their path does.
    told_by_path = "/".join(file.url.split("/")[-2:]) if looked.kind == NEEDS_COMPANY else ""
    digest = _together([(told_by_path, looked.digest)]) if looked.digest else ""
    return Unit(_shown(name), _shown(_folder_of(name)), ((file.url, ""),), file.modified, digest, looked.problem)


def _of_folder(folder: str, held: list[tuple[File, Looked]], prefix: str) -> Unit:
    cut = len(folder) + 1 if folder else 0
    files = tuple((file.url, file.relative[cut:]) for file, looked in held if looked.kind != UNREADABLE)
    digests = [(file.relative[cut:], looked.digest or looked.problem) for file, looked in held]
    first = held[0][0]
    name = _named(prefix, folder) or first.url[: len(first.url) - len(first.relative)].rstrip("/").rpartition("/")[2]
    modified = max((file.modified for file, _ in held if file.modified is not None), default=None)
    digest = _together(digests) if all(looked.digest or looked.problem for _, looked in held) else ""
    return Unit(_shown(name), _shown(name), files, modified, digest)


def _named(prefix: str, relative: str) -> str:
    return "/".join(part for part in (prefix.rstrip("/"), relative) if part)


def _shown(name: str) -> str:
    return printable(name.encode("utf-8", "surrogateescape"))


def _together(digests: list[tuple[str, str]]) -> str:
    text = "\n".join(f"{name}\0{digest}" for name, digest in digests)
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


class _Once:
    """Bytes to be read once."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, size: int = -1, /) -> bytes:
        taken, self._data = (self._data, b"") if size < 0 else (self._data[:size], self._data[size:])
        return taken
