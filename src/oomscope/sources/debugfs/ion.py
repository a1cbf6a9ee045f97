"""/sys/kernel/debug/ion/heaps/NAME (drivers/staging/android/ion/ion.c ion_debug_heap_show()): who holds its buffers."""

from __future__ import annotations

import re

from oomscope.model.account import BYTES, DMA_BUFFER
from oomscope.model.reading import Notes
from oomscope.sources.base import AccountSource
from oomscope.sources.entries import Entries
from oomscope.text import Lines, printable

HEADER = re.compile(rb" *+client +pid(?: +user +user_pid)? +size(?: +mcnt +rcnt)?\s*$")
CLIENT = re.compile(
    rb" *+(?P<client>\S(?:\S| (?=\S)){0,60}+) ++(?P<pid>\d{1,9})"
    rb"(?: ++(?P<user>\S(?:\S| (?=\S)){0,60}+) ++(?P<user_pid>\d{1,9}))?"
    rb" ++(?P<size>\d{1,18})(?: ++\d{1,9} ++\d{1,9})?\s*+$"
)
ABOUT = re.compile(
    rb" *+(?:-{10,}|orphaned allocations|total orphaned +\d|total +\d|deferred free +\d"
    rb"|\d{1,9} order \d{1,2} (?:high|low)mem pages)"
)


def _recognises(head: bytes) -> bool:
    """The header of the clients at the very beginning."""
    return HEADER.match(head.lstrip(b"\r\n").partition(b"\n")[0].rstrip(b"\r")) is not None


def _read(rows: Lines) -> Notes:
    """`notes.accounts.tables` has the clients; of an orphaned buffer, who allocated it for whom."""
    notes = Notes()
    found = Entries(notes)
    for line in rows:
        if line is None or ABOUT.match(line) is not None or HEADER.match(line) is not None:
            notes.stats.unknown_lines += line is None
            continue
        match = CLIENT.match(line)
        if match is None:
            notes.stats.unknown_lines += bool(line.strip())
            continue
        user = "" if match["user"] is None else f" for {printable(match['user'])}"
        found.merge(f"{printable(match['client'])} ({int(match['pid'])}){user}", int(match["size"]))
    notes.accounts.tables = found.account(DMA_BUFFER, BYTES, "buffers")
    return notes


ION = AccountSource("ION heap", _recognises, _read)
