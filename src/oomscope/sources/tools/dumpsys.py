"""`dumpsys meminfo` of Android (ActivityManagerService.dumpApplicationMemoryUsage()): processes by Pss, RAM's parts."""

from __future__ import annotations

import re

from oomscope.model.account import BYTES, CACHED_RAM, FREE_RAM, LOST_RAM, PART_OF_RAM, PROPORTIONAL
from oomscope.model.reading import Notes
from oomscope.sources.base import AccountSource
from oomscope.sources.entries import Entries
from oomscope.sources.tools import amounts
from oomscope.text import Lines, printable

_KB = rb"\d[\d,]{0,14} ?(?:K|kB)"
TITLE = re.compile(rb"(?:Total (?:PSS|RSS) by |Applications Memory Usage \(|Total RAM: )")
PROCESS_ROW = re.compile(
    rb" *+(?P<size>" + _KB + rb"): (?P<name>[\w.:/@<>-]{1,120}) *\(pid (?P<pid>\d{1,9})[^\n]{0,60}\)"
)
ROW = re.compile(rb" *+(?:" + _KB + rb": [\w.:/@<>-]{1,120} *\(pid \d|(?:Total|Free|Used|Lost) RAM: *+-?" + _KB + rb")")
# Of one process: its name above a table, the sum of its Pss below.
ONE = re.compile(rb"\s*(?:\*\* )?MEMINFO in pid (?P<pid>\d{1,9}) \[(?P<name>[^\]]{1,120})\]")
SUM_OF_ONE = re.compile(rb" *+TOTAL:? +(?P<kib>\d{1,12})(?: |\s*$)")
_PARTS = (
    ("processes (Pss)", re.compile(rb"(" + _KB + rb") used pss")),
    ("cached processes (Pss)", re.compile(rb"(" + _KB + rb") cached pss")),
    ("kernel", re.compile(rb"(?:\+ *)(" + _KB + rb") (?:kernel|buffers)\b")),
    (CACHED_RAM, re.compile(rb"(" + _KB + rb") (?:cached kernel|cached\))")),
    (FREE_RAM, re.compile(rb"(" + _KB + rb") free\b")),
    (LOST_RAM, re.compile(rb"Lost RAM: *+(" + _KB + rb")")),
    ("zram", re.compile(rb"ZRAM: *+(" + _KB + rb") physical")),
)
# A row of that table: what it is, then its Pss.
PART_OF_ONE = re.compile(rb" {2,12}(?P<name>[A-Z.][\w./() -]{1,24}?) {2,30}(?P<kib>\d{1,12})(?: |\s*$)")
_PROCESSES = 100_000
ABOUT = re.compile(
    rb" *+(?:Uptime: \d|Tuning: |Oom limit|KSM: |ION: |GPU: |DMA-BUF|[\d,]{1,15} ?(?:K|kB): |Total (?:PSS|RSS) by"
    rb"|ZRAM: )"
)


def _recognises(head: bytes) -> bool:
    """One of its titles at the very beginning."""
    return TITLE.match(head.lstrip(b"\r\n ")) is not None


def _read(rows: Lines) -> Notes:
    """`notes.accounts.tables` has what RAM is used for and the processes, each once, in bytes."""
    notes = Notes()
    processes, parts = Entries(notes), Entries(notes)
    seen: set[tuple[bytes, bytes]] = set()
    told: set[str] = set()
    one: tuple[str, bytes] | None = None
    of_one: dict[str, int] = {}  # its parts
    ones: dict[tuple[str, bytes], tuple[int, str]] = {}  # the last reading of each
    for line in rows:
        text = line or b""
        if (begins := ONE.match(text)) is not None:
            one, of_one = (printable(begins["name"]), begins["pid"]), {}
            continue
        if one is not None:
            if (total := SUM_OF_ONE.match(text)) is not None:
                if len(ones) < _PROCESSES:
                    ones[one] = int(total["kib"]), _largest(of_one)
                one = None
            elif (part := PART_OF_ONE.match(text)) is not None:
                of_one.setdefault(printable(part["name"]), int(part["kib"]))
            continue
        if (match := PROCESS_ROW.match(text)) is not None:
            # The same process stands again under how dispensable it is.
            if (key := (match["name"], match["pid"])) not in seen and len(seen) < _PROCESSES:
                seen.add(key)
                processes.merge(printable(match["name"]), _bytes(match["size"]))
            continue
        is_part = False
        for name, form in _PARTS:
            if (found := form.search(text)) is not None:
                is_part = True
                if name not in told:
                    told.add(name)
                    parts.add(name, _bytes(found[1]), 1)
        if not is_part and (line is None or (text.strip() and not _is_known(text))):
            notes.stats.unknown_lines += 1
    for (name, _), (kib, place) in ones.items():
        processes.merge(name, kib * 1024, None, place)
    notes.accounts.tables = (
        *parts.account(PART_OF_RAM, BYTES, "parts"),
        *processes.account(PROPORTIONAL, BYTES, "processes"),
    )
    return notes


def _largest(of_one: dict[str, int]) -> str:
    """The largest part of one process, as it is called there."""
    name = max(of_one, key=lambda each: of_one[each], default="")
    return f"{name} {of_one[name]:,} kB" if name else ""


def _is_known(text: bytes) -> bool:
    return TITLE.match(text) is not None or ROW.match(text) is not None or ABOUT.match(text) is not None


def _bytes(size: bytes) -> int:
    digits = size.replace(b" ", b"").replace(b"kB", b"K")
    return round((amounts.kib(digits) or 0) * 1024)


DUMPSYS = AccountSource("dumpsys meminfo", _recognises, _read)
