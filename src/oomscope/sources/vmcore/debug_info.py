"""A kernel's debug info: the one that was given, or the one whose build-id fits, where distributions put it."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

from oomscope.errors import BadQuestion
from oomscope.sources.vmcore import elf

_NOTE_SECTION, _NOTE_SEGMENT = 7, 4
_GNU_BUILD_ID = 3
_LONGEST_NOTES_BYTES = 1 << 16
_MOST_NOTES = 64


def find(
    origin: str, given: Path | None, beside: tuple[Path, ...], build_id: str | None, release: str | None
) -> Path | None:
    """The vmlinux to use, None where none is at hand.

    Raises BadQuestion, with both build-ids, where the one that was given is not of this kernel. A file that was found
    is used only where its build-id is the kernel's.
    """
    if given is not None:
        its_own = build_id_of(given)
        if its_own is None:
            raise BadQuestion(f"{given}: not an ELF file with a build-id: no vmlinux of {origin}")
        if build_id is not None and its_own != build_id:
            raise BadQuestion(f"{given}: build-id {its_own}, but {origin} is of {build_id}: not the same kernel")
        return given
    if build_id is None:
        return None
    return next((path for path in (*beside, *_usual_places(build_id, release)) if build_id_of(path) == build_id), None)


def _usual_places(build_id: str, release: str | None) -> Iterator[Path]:
    yield Path("/usr/lib/debug/.build-id") / build_id[:2] / f"{build_id[2:]}.debug"
    if release is None or "/" in release:
        return
    for pattern in (
        "/usr/lib/debug/boot/vmlinux-{}",
        "/usr/lib/debug/lib/modules/{}/vmlinux",
        "/usr/lib/debug/usr/lib/modules/{}/vmlinux",
        "/lib/modules/{}/build/vmlinux",
        "/boot/vmlinux-{}",
    ):
        yield Path(pattern.format(release))
    home = os.environ.get("HOME")
    cache = os.environ.get("DEBUGINFOD_CACHE_PATH") or (f"{home}/.cache/debuginfod_client" if home else None)
    if cache is not None:
        yield Path(cache) / build_id / "debuginfo"


def build_id_of(path: Path) -> str | None:
    """The GNU build-id of an ELF file as hexadecimal digits, None where it has none or cannot be read."""
    try:
        found = elf.headers(path)
        if found is None:
            return None
        notes = [each for each in found.sections if each.kind == _NOTE_SECTION]
        notes += [each for each in found.segments if each.kind == _NOTE_SEGMENT]
        contents = (_build_id(elf.content(path, each, _LONGEST_NOTES_BYTES)) for each in notes[:_MOST_NOTES])
        return next((build_id for build_id in contents if build_id is not None), None)
    except OSError:
        return None


def _build_id(notes: bytes) -> str | None:
    at = 0
    while at + 12 <= len(notes):
        name_size, size, kind = struct.unpack_from("<III", notes, at)
        name = notes[at + 12 : at + 12 + name_size]
        at += 12 + (name_size + 3 & ~3)
        if kind == _GNU_BUILD_ID and name == b"GNU\0":
            return notes[at : at + size].hex()
        at += size + 3 & ~3
    return None
