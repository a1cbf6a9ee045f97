"""`vmstat` (procps): its table, a row a reading, and `vmstat -s`. They tell no more of holders than free does."""

from __future__ import annotations

import re

from oomscope import bounds
from oomscope.model.account import BYTES, COUNTER, account
from oomscope.model.account import Entry as Row
from oomscope.model.reading import Meminfo, Notes
from oomscope.model.unknown import Unknown
from oomscope.sources.base import AccountSource
from oomscope.sources.tools.amounts import bytes_of
from oomscope.text import Lines

HEADER = re.compile(
    rb"(?:--time-- )?procs -+memory-+.{0,80}$|.{0,12}? *+r +b +swpd +free +(?:buff|inact) +(?:cache|active) "
)
# What was asked for, where the prompt is there: `$ vmstat -S M 5`.
ASKED = re.compile(
    rb".{0,120}?[#$>%] ?(?:sudo )?vmstat(?: \S{1,10}){0,4}? (?:-\w{0,4}S ?|--unit[ =])(?P<unit>[kKmM])\b"
)
_UNITS = {b"k": 1000, b"K": 1024, b"m": 10**6, b"M": 1 << 20}
_COLUMNS = re.compile(rb".{0,12}? *+r +b +swpd +free +(?P<third>buff|inact) +")
ROW = re.compile(
    rb" *+(?:\d\d:\d\d:\d\d +)?\d{1,6} +\d{1,6} +\d{1,15} +(?P<free>\d{1,15}) +(?P<third>\d{1,15}) +"
    rb"(?P<fourth>\d{1,15})(?: +\d{1,12}){7,14}(?: .{0,40})?\s*$"
)
SUMMARY = re.compile(
    rb" *+(?P<kib>\d{1,15}) [Kk]B? (?P<what>total memory|free memory|buffer memory|swap cache|active memory"
    rb"|inactive memory|total swap|free swap|used memory|used swap)\s*$"
)
_OF_SUMMARY = {
    b"total memory": "MemTotal",
    b"free memory": "MemFree",
    b"buffer memory": "Buffers",
    b"swap cache": "Cached",  # so it is called there
    b"total swap": "SwapTotal",
    b"free swap": "SwapFree",
}
_OTHERS = re.compile(rb" *+\d{1,18} (?:.{0,20}cpu ticks|pages |interrupts|CPU context|boot time|forks)")


def _recognises(head: bytes) -> bool:
    """Either form at the very beginning."""
    first = head[:4096].lstrip(b"\r\n").partition(b"\n")[0]
    return any(form.match(first) is not None for form in (HEADER, SUMMARY))


def _read(rows: Lines) -> Notes:
    """`notes.accounts.meminfo` has the summary's figures; of a table, `tables` the last row's, as RAM is not told."""
    notes = Notes()
    kib: dict[str, int] = {}
    last: re.Match[bytes] | None = None
    has_cache = True
    unit = 1024
    for line in rows:
        text = line or b""
        if (asked := ASKED.match(text)) is not None:
            unit = _UNITS[asked["unit"]]
            continue
        if (match := SUMMARY.match(text)) is not None:
            if match["what"] in _OF_SUMMARY:
                kib.setdefault(_OF_SUMMARY[match["what"]], int(match["kib"]))
        elif (match := _COLUMNS.match(text)) is not None:
            has_cache = match["third"] == b"buff"
        elif (match := ROW.match(text)) is not None:
            last = match
        elif line is None or (text.strip() and HEADER.match(text) is None and _OTHERS.match(text) is None):
            notes.stats.unknown_lines += 1
    if 0 < kib.get("MemTotal", 0) <= bounds.PAGES * 4:
        notes.accounts.meminfo = Meminfo(kib["MemTotal"] * 1024, bytes_of(kib.get("MemFree")), None, kib)
    elif last is not None:
        names = ("Buffers", "Cached") if has_cache else ("Inactive", "Active")
        amounts = {name: int(last[part]) * unit for name, part in zip(names, ("third", "fourth"), strict=True)}
        held = [Row(name, amount, 1) for name, amount in amounts.items() if amount <= bounds.ROW_BYTES]
        notes.accounts.tables = account(COUNTER, BYTES, "columns", held)
        notes.absent += (Unknown("how much RAM there is", "vmstat's table does not tell; /proc/meminfo does"),)
    return notes


VMSTAT_TOOL = AccountSource("vmstat's table", _recognises, _read)
