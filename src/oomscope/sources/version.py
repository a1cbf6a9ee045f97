"""/proc/version: which kernel this is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from oomscope.model.batch import Batch
from oomscope.model.reading import Notes
from oomscope.sources.base import lines, printable

# init/version.c: "Linux version 6.12.1 (user@host) (compiler) #1 SMP ..."; the same line opens a kernel log.
RELEASE = re.compile(rb"Linux version (?P<release>\S{1,80}) \(")


class VersionText:
    """The format: the one line of /proc/version."""

    format = "version"
    separator: bytes | None = None

    def recognises(self, head: bytes) -> bool:
        """`Linux version` at the very beginning, and hardly anything after it."""
        return RELEASE.match(head) is not None and head.count(b"\n") <= 1

    def parser(self, *, ranking_only: bool) -> VersionParser:  # noqa: ARG002 - it has no rows to leave out
        """A parser for one file."""
        return VersionParser()


class VersionParser:
    """Yields no rows; `notes.release` has the kernel release; see Parser."""

    def __init__(self) -> None:
        self.notes = Notes()

    def batches(self, chunks: Iterable[bytes]) -> Iterator[Batch]:
        """No rows."""
        for line in lines(chunks):
            match = RELEASE.match(line or b"")
            if match is not None:
                self.notes.release = printable(match["release"])
        yield from ()
