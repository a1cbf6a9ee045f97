"""/proc/modules (kernel/module/procfs.c m_show()): loaded modules, their own memory, and what taints the kernel."""

from __future__ import annotations

import re

from oomscope.model.account import BYTES, MODULE
from oomscope.model.reading import Notes
from oomscope.sources.base import AccountSource
from oomscope.sources.entries import Entries
from oomscope.text import Lines, first_line, printable

_ROW = re.compile(
    rb"(?P<name>\S{1,64}) (?P<size>\d{1,12}) (?P<users>-|\d{1,9}) \S{1,4000} (?:Live|Loading|Unloading) "
    rb"0x[0-9a-f]{1,16}(?: \((?P<taint>[A-Z+-]{1,8})\))? *"
)


def _recognises(head: bytes) -> bool:
    """A whole row at the very beginning."""
    return _ROW.fullmatch(first_line(head)) is not None


def _read(rows: Lines) -> Notes:
    """`notes.accounts.tables` has the modules, their size and users, and their taint as place."""
    notes = Notes()
    entries = Entries(notes)
    for line in rows:
        row = _ROW.fullmatch(line or b"")
        if row is None:
            notes.stats.unknown_lines += line != b""
            continue
        users = 0 if row["users"] == b"-" else int(row["users"])
        taint = "" if row["taint"] is None else row["taint"].decode()
        entries.add(printable(row["name"]), int(row["size"]), users, None, taint)
    notes.accounts.tables = entries.account(MODULE, BYTES, "users")
    return notes


MODULES = AccountSource("modules", _recognises, _read)
