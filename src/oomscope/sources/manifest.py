"""The manifest of `oomscope collect`: what could not be read on the machine, and why."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from oomscope import bounds
from oomscope.model.batch import Batch
from oomscope.model.reading import Notes
from oomscope.model.unknown import Unknown
from oomscope.text import printable


class ManifestText:
    """The format: its first key."""

    format = "manifest"
    separator: bytes | None = None

    def recognises(self, head: bytes) -> bool:
        """The key that no other file has, at the very beginning."""
        return head.startswith(b'{\n "oomscope-case": ')

    def parser(self, *, ranking_only: bool) -> ManifestParser:  # noqa: ARG002 - it has nothing to leave out
        """A parser for one file."""
        return ManifestParser()


class ManifestParser:
    """Yields no rows; `notes.absent` has what could not be read; see Parser."""

    def __init__(self) -> None:
        self.notes = Notes()

    def batches(self, chunks: Iterable[bytes]) -> Iterator[Batch]:
        """No rows."""
        text = b"".join(_beginning(chunks))
        try:
            unread = json.loads(text)["unread"]
            told = [(str(each["path"]), str(each["reason"])) for each in unread]
            self.notes.absent = tuple(
                Unknown(printable(path.encode()), printable(f"not collected: {reason}".encode()))
                for path, reason in told[: bounds.NAMES]
            )
        except (ValueError, KeyError, TypeError, RecursionError):
            self.notes.unknown_lines += 1
        yield from ()


def _beginning(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """As much as a manifest has; a longer one is none, and its end is read past."""
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size <= bounds.MANIFEST_BYTES:
            yield chunk
