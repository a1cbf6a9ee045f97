"""Graphics buffers as drivers list them: i915_gem_objects, gem_names, bo_stats of vc4 and v3d (drivers/gpu/drm)."""

from __future__ import annotations

import re

from oomscope.model.account import BYTES, GRAPHICS
from oomscope.model.reading import Notes
from oomscope.sources.base import AccountSource
from oomscope.sources.entries import Entries
from oomscope.text import Lines, printable

TOTAL = re.compile(
    rb" *+(?P<count>\d{1,9}) (?:shrinkable (?:\[\d{1,9} free\] )?)?objects, (?P<size>\d{1,18}) bytes\s*$"
)
CLIENT = re.compile(rb" *+(?P<name>\S.{0,60}?): (?P<count>\d{1,9}) objects, (?P<size>\d{1,18}) bytes(?= |$)")
BO_STATS = re.compile(rb" *+(?:allocated bos: +(?P<count>\d{1,9})|allocated bo size \(kb\): +(?P<kib>\d{1,15}))\s*$")
_NUM_BOS = re.compile(rb".{0,60}?(?:num bos allocated: (?P<count>\d{1,9})|size bos allocated: (?P<kib>\d{1,15})kb)\s*$")


def _recognises(head: bytes) -> bool:
    """The total at the very beginning."""
    first = head[:4096].lstrip(b"\r\n").partition(b"\n")[0].rstrip(b"\r")
    return TOTAL.match(first) is not None or BO_STATS.match(first) is not None


def _read(rows: Lines) -> Notes:
    """`notes.accounts.tables` has all buffers as one row, and each client's: the same buffer may be in several."""
    notes = Notes()
    found = Entries(notes)
    count = 0
    whole_bytes: int | None = None
    for line in rows:
        told = line or b""
        if (match := TOTAL.match(told)) is not None:
            whole_bytes = int(match["size"])
            found.add("all graphics buffers", whole_bytes, int(match["count"]))
        elif (match := CLIENT.match(told)) is not None:
            # A client's buffers are among all of them.
            if whole_bytes is not None and int(match["size"]) > whole_bytes:
                notes.stats.corrupt_records += 1
            else:
                found.add(printable(match["name"]), int(match["size"]), int(match["count"]))
        elif (match := BO_STATS.match(told) or _NUM_BOS.match(told)) is not None:
            count = int(match["count"] or count)
            if match["kib"] is not None:
                found.add("all graphics buffers", int(match["kib"]) * 1024, count)
        else:
            notes.stats.unknown_lines += line is None or bool(told.strip())
    notes.accounts.tables = found.account(GRAPHICS, BYTES, "buffers")
    return notes


DRM = AccountSource("graphics buffers", _recognises, _read)
