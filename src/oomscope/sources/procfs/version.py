"""/proc/version: which kernel this is."""

from __future__ import annotations

import re

from oomscope.model.reading import Notes
from oomscope.sources.base import AccountSource
from oomscope.text import Lines, printable

# init/version.c: "Linux version 6.12.1 (user@host) (compiler) #1 SMP ..."; the same line opens a kernel log.
RELEASE = re.compile(rb"Linux version (?P<release>\S{1,80}) \(")


def _recognises(head: bytes) -> bool:
    """`Linux version` at the very beginning, and hardly anything after it."""
    return RELEASE.match(head) is not None and head.count(b"\n") <= 1


def _read(rows: Lines) -> Notes:
    """`notes.release` has the kernel release."""
    notes = Notes()
    for line in rows:
        match = RELEASE.match(line or b"")
        if match is not None:
            notes.release = printable(match["release"])
    return notes


VERSION = AccountSource("version", _recognises, _read)
