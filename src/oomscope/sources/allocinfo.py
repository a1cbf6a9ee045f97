"""/proc/allocinfo (lib/alloc_tag.c allocinfo_show(), 6.10 and later): bytes and calls of every call site."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from oomscope.model.batch import Batch
from oomscope.model.ledger import BYTES, CALL_SITE, Entry, ledger
from oomscope.model.reading import Notes
from oomscope.sources.base import lines, printable

_ROW = re.compile(
    rb" *(?P<bytes>\d{1,19}) +(?P<calls>\d{1,19}) (?P<place>\S{1,300}:\d{1,7}) (?:\[(?P<module>[^\]]{1,64})\] )?"
    rb"func:(?P<function>\S{1,300}) *(?:accurate:no *)?"
)


class AllocinfoText:
    """The format: its header, or rows of its form where that was cut off."""

    format = "allocinfo"
    separator: bytes | None = None

    def recognises(self, head: bytes) -> bool:
        """`allocinfo - version:` at the very beginning, or a row there."""
        return head.startswith(b"allocinfo - version: ") or _ROW.match(head) is not None

    def parser(self, *, ranking_only: bool) -> AllocinfoParser:  # noqa: ARG002 - it has nothing to leave out
        """A parser for one file."""
        return AllocinfoParser()


class AllocinfoParser:
    """Yields no rows; `notes.ledgers` has the call sites that hold anything; see Parser."""

    def __init__(self) -> None:
        self.notes = Notes()

    def batches(self, chunks: Iterable[bytes]) -> Iterator[Batch]:
        """No rows."""
        found = []
        for line in lines(chunks):
            match = _ROW.fullmatch(line or b"")
            if match is None:
                self.notes.unknown_lines += line != b"" and not (line or b"").lstrip().startswith((b"#", b"allocinfo"))
            elif int(match["bytes"]):
                module = None if match["module"] is None else printable(match["module"])
                function, place = printable(match["function"]), printable(match["place"])
                found.append(Entry(function, int(match["bytes"]), int(match["calls"]), module, place))
        self.notes.ledgers = ledger(CALL_SITE, BYTES, "calls", found)
        yield from ()
