"""Machines laid out in folders, and archives looked into."""

from __future__ import annotations

import tarfile
from pathlib import Path

import zstandard


def put(root: Path, path: str, text: bytes) -> None:
    """A file of a machine."""
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text)


def kmsg(console: bytes) -> bytes:
    """A console's lines as /dev/kmsg gives them."""
    return b"".join(
        b"4,%d,%d,-;%s\n" % (n, n * 10, line.split(b"] ", 1)[-1]) for n, line in enumerate(console.split(b"\n"))
    )


def members(archive: Path) -> dict[str, bytes]:
    """The files of a compressed archive by name."""
    found: dict[str, bytes] = {}
    with (
        archive.open("rb") as packed,
        zstandard.ZstdDecompressor().stream_reader(packed) as unpacked,
        tarfile.open(fileobj=unpacked, mode="r|") as tar,
    ):
        for entry in tar:
            if (file := tar.extractfile(entry)) is not None:
                found[entry.name] = file.read()
    return found
