"""/proc/allocinfo (lib/alloc_tag.c allocinfo_show(), 6.10 and later): bytes and calls of every call site."""

from __future__ import annotations

import re

from oomscope.model.account import BYTES, CALL_SITE
from oomscope.model.reading import Notes
from oomscope.sources.base import AccountSource
from oomscope.sources.entries import Entries
from oomscope.text import Lines, first_line, printable

_ROW = re.compile(
    rb" *+(?P<bytes>\d{1,18}|\d{1,4}(?:\.\d{1,2})?(?: ?[KMGT]i?B?| B)) ++(?P<calls>\d{1,19}) "
    rb"(?P<place>\S{1,300}:\d{1,7}) (?:\[(?P<module>[^\]]{1,64})\] )?"
    rb"func:(?P<function>\S{1,300}) *+(?:accurate:no *)?"
)


def _recognises(head: bytes) -> bool:
    """`allocinfo - version:` at the very beginning, or a row there."""
    return head.startswith(b"allocinfo - version: ") or _ROW.match(first_line(head)) is not None


def _read(rows: Lines) -> Notes:
    """`notes.accounts.tables` has the call sites that hold anything."""
    notes = Notes()
    found = Entries(notes)
    for line in rows:
        match = _ROW.fullmatch(line or b"")
        if match is None:
            notes.stats.unknown_lines += line != b"" and not (line or b"").lstrip().startswith((b"#", b"allocinfo"))
        elif size := _bytes(match["bytes"]):
            module = None if match["module"] is None else printable(match["module"])
            function, place = printable(match["function"]), printable(match["place"])
            found.is_begun_anew(f"{place} {module} {function}")
            found.add(function, size, int(match["calls"]), module, place)
    notes.accounts.tables = found.account(CALL_SITE, BYTES, "calls")
    return notes


def _bytes(amount: bytes) -> int:
    """A row's bytes; `sort | numfmt --to=iec` leaves two digits and a unit."""
    amount = amount.rstrip(b"iB ")  # of --to=iec-i, and of the kernel's own list in an OOM report
    unit = b"KMGT".find(amount[-1:]) + 1
    return round(float(amount[:-1]) * 1024**unit) if unit else int(float(amount))


ALLOCINFO = AccountSource("allocinfo", _recognises, _read)
