"""Which files make a case: found below the places that were named, each with what its folders say of it.

A log or an archive is a case of its own. A folder is one case with all below it where a file lies in it that needs
company (page_owner, a core dump, meminfo, ...): what each file is, its content tells. Whoever knows better says so:
each file is a case, or each folder directly below a place is one.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from oomscope.io import archive
from oomscope.io.input import Stream
from oomscope.model.reading import Role
from oomscope.sources import recognise
from oomscope.triage import places
from oomscope.triage.places import File

AUTO, EACH_FILE, EACH_FOLDER = "auto", "file", "folder"

ALONE, LOG, NEEDS_COMPANY, UNREADABLE, OWN = "alone", "log", "needs company", "unreadable", "oomscope's own output"
_OWN_HEAD_BYTES = 300
_OWN = re.compile(
    rb'\s*\{\s*"schema": "oomscope[-/]|<!doctype html>.*<meta name="generator" content="oomscope">', re.DOTALL
)
_OWN_TABLES = re.compile(r"(?:^|/)(?:cases|consumers|findings)/part-\d{5,}\.parquet$")
_HEAD_BYTES, _BZIP2_BLOCK_BYTES = 1 << 16, 1 << 20
# What a source takes from a path: AccountSource.located.
_TOLD_BY_FOLDER = re.compile(r"slab/[^/]+/(?:alloc|free)_traces|zram\d+[/.:]mm_stat|free_traces")


@dataclass(frozen=True, slots=True)
class Recognised:
    """What a look at one file told: whether it is a case by itself, and its content's name, empty if not asked for.

    `state` tells later whether it was written to meanwhile; `names_holders` that it tells who holds a machine's pages.
    `format` is empty where no source knows it.
    """

    kind: str
    digest: str
    problem: str = ""
    state: tuple[int, int] | None = None
    names_holders: bool = False
    format: str = ""


@dataclass(frozen=True, slots=True)
class Unit:
    """A case to be explained: its files as (URL, path below the case), the path empty for a case of one file.

    `name` is unique in a triage; `folder` is as much of it as names folders. `digest` names the content, empty where
    none is known; `states` were the files' when it was made. `problem` says why there is nothing to explain, `unread`
    which files of a folder are no part of it, and why. `log_folders` are as many below a folder as have logs,
    `formats` the files', as far as they were recognised; `is_small` is told of a single file of this machine.
    """

    name: str
    folder: str
    files: tuple[tuple[str, str], ...]
    modified_s: float | None
    digest: str
    problem: str = ""
    states: tuple[tuple[int, int] | None, ...] = ()
    unread: tuple[str, ...] = ()
    log_folders: int = 0
    formats: tuple[str, ...] = ()
    is_small: bool = False

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder with its files."""
        return bool(self.files[0][1])

    @property
    def place(self) -> str:
        """The file, or the folder that has them all."""
        return places.common_place(self.files)


def look(file: File, *, whole: bool) -> Recognised:
    """What kind of file it is, by its beginning; with `whole`, its content's name, too."""
    if file.problem:
        return Recognised(UNREADABLE, "", file.problem)
    try:
        head, digest = places.beginning(file, _HEAD_BYTES, _BZIP2_BLOCK_BYTES, whole=whole)
        stream = Stream(file.relative, io.BytesIO(head), size_bytes=None)
        source = recognise(stream.head) if archive.kind_of(stream.head) is None else None
        kind = ALONE if source is None else LOG if source.role is Role.LOG else NEEDS_COMPANY
        if _OWN.match(stream.head[:_OWN_HEAD_BYTES]) or _OWN_TABLES.search(file.relative):
            kind = OWN
        return Recognised(
            kind,
            digest,
            state=places.state(file.url) if whole else None,
            names_holders=source is not None and source.role.names_holders,
            format="" if source is None else source.format,
        )
    except OSError as error:
        return Recognised(UNREADABLE, "", places.reason_of(error))


def units(
    files: Iterable[tuple[File, Recognised]], grouping: str, prefix: str = "", labelled: int = 0
) -> Iterator[Unit]:
    """The cases that files of one place make, in the order of the files; `prefix` goes before their names.

    Folders that have a label each, the outermost `labelled` ones of a path, are not put together by what they hold.
    """
    found = [(file, looked) for file, looked in files if looked.kind != OWN]
    whole = _case_folders(found, grouping)
    if grouping == AUTO:
        depth = labelled - len(_parts(prefix))
        whole = {each for each in whole if len(_parts(each)) >= depth or not _reaches(found, each, depth)}
    held: list[tuple[File, Recognised]] = []
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
    seen: set[str] = set()
    for unit in found:
        name = distinct(unit.name, seen)
        yield unit if name == unit.name else replace(unit, name=name)


def distinct(name: str, seen: set[str]) -> str:
    """The name, or one like it that was not seen before; it is, then."""
    number, free = 1, name
    while free in seen:
        number += 1
        free = f"{name}~{number}"
    seen.add(free)
    return free


def counted_once(found: Iterable[Unit]) -> tuple[list[Unit], int]:
    """The same without those whose files are, by whatever name, another case's; and how many those are.

    Of several names the file's own stays. What cannot be read is nobody's, and stays.
    """
    left = list(found)
    identities = [f"problem {unit.place}" if unit.problem else places.identity(unit.place) for unit in left]
    folders = {name for unit, name in zip(left, identities, strict=True) if unit.is_folder and not unit.problem}
    in_folders = {places.identity(url) for unit in left if unit.is_folder for url, _ in unit.files}
    chosen: dict[str, int] = {}
    for at, (unit, name) in enumerate(zip(left, identities, strict=True)):
        if name not in chosen or (unit.place == name != left[chosen[name]].place):
            chosen[name] = at
    kept = [
        unit
        for at, (unit, name) in enumerate(zip(left, identities, strict=True))
        if chosen[name] == at
        and (unit.problem or not (_is_within(name, folders) or (not unit.is_folder and name in in_folders)))
    ]
    return kept, len(left) - len(kept)


def _is_within(name: str, folders: set[str]) -> bool:
    parts = name.split("/")
    return any("/".join(parts[:count]) in folders for count in range(1, len(parts)))


def _case_folders(found: list[tuple[File, Recognised]], grouping: str) -> set[str]:
    """Folders that are one case; a folder within one belongs to it (the outermost is asked first)."""
    if grouping == EACH_FILE:
        return set()
    if grouping == EACH_FOLDER:
        return {file.relative.partition("/")[0] for file, _ in found if "/" in file.relative}
    folders = {_folder_of(file.relative) for file, looked in found if looked.kind == NEEDS_COMPANY and file.relative}
    children = _children(found)
    holders = {_folder_of(file.relative) for file, looked in found if looked.names_holders}
    # Two folders with logs of their own are two machines, unless what names one machine's holders lies above them.
    return {each for each in folders if each in holders or len(children.get(each, ())) < 2}


def _children(found: list[tuple[File, Recognised]]) -> dict[str, set[str]]:
    """Of each folder, the folders directly below it through which logs are reached."""
    children: dict[str, set[str]] = {}
    for folder in {_folder_of(file.relative) for file, looked in found if looked.kind == LOG}:
        parts = _parts(folder)
        for count, part in enumerate(parts):
            children.setdefault("/".join(parts[:count]), set()).add(part)
    return children


def _reaches(found: list[tuple[File, Recognised]], folder: str, depth: int) -> bool:
    """Whether files below a folder lie as deep as folders with labels do."""
    below = f"{folder}/" if folder else ""
    return any(file.relative.startswith(below) and len(_parts(_folder_of(file.relative))) >= depth for file, _ in found)


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


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


def _of_file(file: File, looked: Recognised, prefix: str) -> Unit:
    name = _named(prefix, file.relative) or file.url.rstrip("/").rpartition("/")[2]
    digest = _together(file.url, [("", looked.digest)]) if looked.digest else ""
    files = ((file.url, ""),)
    return Unit(
        places.shown(name),
        places.shown(_folder_of(name)),
        files,
        file.modified_s,
        digest,
        looked.problem,
        (looked.state,),
        formats=(looked.format,),
        is_small=file.is_small,
    )


def _of_folder(folder: str, held: list[tuple[File, Recognised]], prefix: str) -> Unit:
    cut = len(folder) + 1 if folder else 0
    files = tuple((file.url, file.relative[cut:]) for file, looked in held if looked.kind != UNREADABLE)
    states = tuple(looked.state for _, looked in held if looked.kind != UNREADABLE)
    problem = "" if files else f"nothing in it can be read: {held[0][1].problem}"
    digests = [(file.relative[cut:], looked.digest or looked.problem) for file, looked in held]
    first = held[0][0]
    place = first.url[: len(first.url) - len(first.relative) + len(folder)].rstrip("/")
    name = _named(prefix, folder) or place.rpartition("/")[2]
    unread = tuple(
        places.shown(f"{name}/{file.relative[cut:]}: {looked.problem}") for file, looked in held if looked.problem
    )
    modified_s = max((file.modified_s for file, _ in held if file.modified_s is not None), default=None)
    digest = _together(place, digests) if all(looked.digest or looked.problem for _, looked in held) else ""
    log_folders = len(_children(held).get(folder, ()))
    files = files or ((place, ""),)
    shown = places.shown(name)
    formats = tuple(looked.format for _, looked in held if looked.kind != UNREADABLE)
    return Unit(shown, shown, files, modified_s, digest, problem, states, unread, log_folders, formats)


def _named(prefix: str, relative: str) -> str:
    return "/".join(part for part in (prefix.rstrip("/"), relative) if part)


def _together(place: str, digests: list[tuple[str, str]]) -> str:
    """One name for what several files hold; the folders' names are in it where a file is known by them."""
    own = [match[0] for name, _ in digests if (match := _TOLD_BY_FOLDER.search(f"{place}/{name}")) is not None]
    text = "\n".join([*own, *(f"{name}\0{digest}" for name, digest in digests)])
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
