"""What containers take, as their managers print it: `docker stats` (podman's alike) and `kubectl top pod`."""

from __future__ import annotations

import re

from oomscope.model.account import BYTES, CONTROL_GROUP
from oomscope.model.reading import Notes
from oomscope.sources.base import AccountSource
from oomscope.sources.entries import Entries
from oomscope.text import Lines, printable

# `docker stats`: what is used and the limit, a slash between; its own columns for the name differ by age.
HEADER_OF_DOCKER = re.compile(rb"\s*CONTAINER(?: ID)? +(?:NAME +)?CPU %? +MEM USAGE / LIMIT +MEM %?")
OF_DOCKER = re.compile(
    rb"\s*(?P<id>[0-9a-f]{12,64}|[\w.-]{2,120}) +(?:(?P<name>[\w./-]{2,120}) +)?\d{1,6}(?:\.\d{1,3})?% +"
    rb"(?P<used>\d{1,9}(?:\.\d{1,3})?) ?(?P<unit>[KkMGT]i?)?B / \d{1,9}(?:\.\d{1,3})? ?(?:[KMGT]i?)?B +\d"
)
HEADER_OF_KUBECTL = re.compile(
    rb"\s*(?:NAMESPACE +)?(?:POD +)?NAME +CPU\(cores\) +(?:CPU% +)?MEMORY\(bytes\)(?: +MEMORY%)?\s*$"
)
OF_KUBECTL = re.compile(
    rb"\s*(?:[\w.-]{1,120} +){0,2}?(?P<name>[\w.-]{2,120}) +\d{1,7}m? +(?:\d{1,3}% +)?"
    rb"(?P<used>\d{1,9})(?P<unit>[KMGT]i)(?: +\d{1,3}%)?\s*$"
)
_UNITS = {b"": 0, b"K": 1, b"M": 2, b"G": 3, b"T": 4}


def _recognises(head: bytes) -> bool:
    """A header at the very beginning."""
    return HEADER_OF_DOCKER.match(head) is not None or HEADER_OF_KUBECTL.match(head.partition(b"\n")[0]) is not None


def _read(rows: Lines) -> Notes:
    """`notes.accounts.tables` has the containers or pods, in bytes; of one that stands there twice the last reading."""
    notes = Notes()
    last: dict[str, int] = {}
    found = Entries(notes)
    for line in rows:
        text = line or b""
        match = OF_DOCKER.match(text) or OF_KUBECTL.match(text)
        if match is None:
            is_header = HEADER_OF_DOCKER.match(text) is not None or HEADER_OF_KUBECTL.match(text) is not None
            notes.stats.unknown_lines += bool(text.strip()) and not is_header
            continue
        name = match["name"] or match.groupdict().get("id") or b""
        last[printable(name)] = _bytes(match["used"], match["unit"] or b"")
    for name, size_bytes in last.items():
        found.merge(name, size_bytes)
    notes.accounts.tables = found.account(CONTROL_GROUP, BYTES, "containers")
    return notes


def _bytes(amount: bytes, unit: bytes) -> int:
    """Docker counted in thousands (MB) before it counted in 1,024 (MiB, 17.05)."""
    step = 1024.0 if unit.endswith(b"i") else 1000.0
    return round(float(amount) * step ** _UNITS[unit.rstrip(b"i").upper()])


CONTAINERS = AccountSource("containers", _recognises, _read)
