"""`oomctl` (systemd): the machine's memory as systemd-oomd sees it, and the control groups that it watches."""

from __future__ import annotations

import re

from oomscope import bounds
from oomscope.model.account import BYTES, CONTROL_GROUP
from oomscope.model.reading import Meminfo, Notes
from oomscope.sources.base import AccountSource
from oomscope.sources.entries import Entries
from oomscope.sources.tools import amounts
from oomscope.text import Lines, printable

_SIZE = rb"\d{1,9}(?:\.\d)?[BKMGTP]"
ROW = re.compile(
    rb"\s*(?:Path: (?P<path>/\S{0,300})|Current Memory [Uu]sage: (?P<size>%(size)s)"
    rb"|(?P<what>Memory|Swap): Used: (?P<used>%(size)s) Total: (?P<total>%(size)s))" % {b"size": _SIZE}
)
ABOUT = re.compile(
    rb"\s*(?:Dry Run: |Swap Used Limit: |Default Memory Pressure |System Context:|Swap Monitored CGroups:"
    rb"|Memory Pressure"
    rb"|Pressure: Avg10|Memory (?:Min|Low): |Swap Usage: |(?:Last )?Pgscan: )"
)


def _recognises(head: bytes) -> bool:
    """Its first line, with the limit of swap behind it."""
    return re.match(rb"Dry Run: \w{1,5}\nSwap Used Limit: ", head) is not None


def _read(rows: Lines) -> Notes:
    """`notes.accounts.meminfo` has RAM and swap, `notes.accounts.tables` the groups, in bytes."""
    notes = Notes()
    found = Entries(notes)
    kib: dict[str, int] = {}
    path = ""
    for line in rows:
        match = None if line is None else ROW.match(line)
        if match is None:
            notes.stats.unknown_lines += line is None or (bool(line.strip()) and ABOUT.match(line) is None)
        elif match["path"] is not None:
            path = printable(match["path"])
        elif match["size"] is not None:
            found.add(path or "a group whose line is lost", _kib(match["size"]) * 1024, 1)
            path = ""
        elif match["what"] == b"Memory":
            # Its "used" is MemTotal less MemAvailable (src/shared/oomd-util.c oomd_system_context_acquire()).
            kib |= {"MemTotal": _kib(match["total"]), "MemAvailable": _kib(match["total"]) - _kib(match["used"])}
        else:
            kib |= {"SwapTotal": _kib(match["total"]), "SwapFree": _kib(match["total"]) - _kib(match["used"])}
    if 0 < kib.get("MemTotal", 0) <= bounds.PAGES * 4:
        notes.accounts.meminfo = Meminfo(kib["MemTotal"] * 1024, None, None, kib)
    notes.accounts.tables = found.account(CONTROL_GROUP, BYTES, "groups")
    return notes


def _kib(size: bytes) -> int:
    return round(amounts.kib(size, 1 / 1024) or 0)


OOMCTL = AccountSource("oomctl", _recognises, _read)
