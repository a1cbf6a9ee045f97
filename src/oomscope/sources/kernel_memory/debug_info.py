"""A kernel's debug info: the one that was given, or the one whose build-id fits, where distributions put it."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

from oomscope.errors import BadQuestion

_NOTE_SECTION, _NOTE_SEGMENT = 7, 4
_GNU_BUILD_ID = 3
_LONGEST_NOTES_BYTES = 1 << 16


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
        with path.open("rb") as file:
            head = file.read(64)
            if head[:6] != b"\x7fELF\x02\x01":  # 64 bits, little endian
                return None
            phoff, shoff = struct.unpack_from("<QQ", head, 32)
            phentsize, phnum, shentsize, shnum = struct.unpack_from("<HHHH", head, 54)
            places = []
            file.seek(shoff)
            sections = file.read(shentsize * shnum)
            for i in range(shnum if shentsize >= 64 else 0):
                kind, _, _, offset, size = struct.unpack_from("<IQQQQ", sections, i * shentsize + 4)
                if kind == _NOTE_SECTION:
                    places.append((offset, size))
            file.seek(phoff)
            segments = file.read(phentsize * phnum)
            for i in range(phnum if phentsize >= 56 else 0):
                kind, _, offset, _, _, size = struct.unpack_from("<IIQQQQ", segments, i * phentsize)
                if kind == _NOTE_SEGMENT:
                    places.append((offset, size))
            for offset, size in places:
                file.seek(offset)
                found = _build_id(file.read(min(size, _LONGEST_NOTES_BYTES)))
                if found is not None:
                    return found
    except (OSError, struct.error):
        return None
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
