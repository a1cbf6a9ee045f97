"""The manifest of `oomscope collect`: what could not be read on the machine, and why."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from oomscope import bounds
from oomscope.io.input import Stream
from oomscope.model.reading import Notes, Reading, Role
from oomscope.model.unknown import Unknown
from oomscope.sources.base import Options
from oomscope.text import printable


class ManifestText:
    """The format: its first key. `notes.absent` has what could not be read."""

    format = "manifest"
    role = Role.MANIFEST

    def recognises(self, head: bytes) -> bool:
        """The key that no other file has, at the very beginning."""
        return head.startswith(b'{\n "oomscope-case": ')

    def read(self, stream: Stream, options: Options) -> list[Reading]:
        """One reading; see Source."""
        notes = Notes()
        try:
            unread = json.loads(b"".join(_beginning(options.chunks(stream))))["unread"]
            parsed = [(str(each["path"]), str(each["reason"])) for each in unread]
            notes.absent = tuple(
                Unknown(printable(path.encode()), printable(f"not collected: {reason}".encode()))
                for path, reason in parsed[: bounds.NAMES]
            )
        except (ValueError, KeyError, TypeError, RecursionError):
            notes.stats.unknown_lines += 1
        return [Reading(stream.origin, self.format, self.role, notes, None, stream.defect)]


def _beginning(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """As much as a manifest has; a longer one is none, and its end is read past."""
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size <= bounds.MANIFEST_BYTES:
            yield chunk
