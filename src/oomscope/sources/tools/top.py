"""The lines above the processes of `top`: procps, busybox and toybox, each a few figures of /proc/meminfo."""

from __future__ import annotations

import re

from oomscope import bounds
from oomscope.model.reading import Meminfo, Notes
from oomscope.sources.base import AccountSource
from oomscope.sources.tools import amounts
from oomscope.text import Lines

ROW = re.compile(
    rb" *+(?=.{0,200}?\bused\b)(?:(?P<unit>[KMGTkm])i?B )?(?P<what>Mem|Swap) *: *"
    rb"(?P<figures>\d[\d.,]{0,20}[KMGTkmgt]?\+? (?:total|used)\b.{0,200})"
)
_FIGURE = re.compile(
    rb"(?<![\d.,])(?P<size>\d[\d.,]{0,19}?[KMGTkmgt]?)\+? "
    rb"(?P<name>total|used|free|shrd|buff(?:/cache|ers)?|cached|avail)"
    rb"(?: Mem)?\b"
)
_UNITS = {b"K": 1, b"M": 1 << 10, b"G": 1 << 20, b"T": 1 << 30}
_NAMES = {
    b"total": "MemTotal",
    b"free": "MemFree",
    b"shrd": "Shmem",
    b"buff": "Buffers",
    b"buffers": "Buffers",
    b"buff/cache": "Cached",  # page cache, buffers and reclaimable slab together
    b"cached": "Cached",
    b"avail": "MemAvailable",
}


def _recognises(head: bytes) -> bool:
    """Never by itself: processes stand below it, and both are looked for in a text."""
    del head
    return False


def _read(rows: Lines) -> Notes:
    """`notes.accounts.meminfo` has the figures by the names of /proc/meminfo."""
    notes = Notes()
    kib: dict[str, int] = {}
    used = 0
    for line in rows:
        match = None if line is None else ROW.match(line)
        if match is None:
            notes.stats.unknown_lines += line is None or bool(line.strip())
            continue
        unit = _UNITS[(match["unit"] or b"K").upper()]
        is_swap = match["what"] == b"Swap"
        for figure in _FIGURE.finditer(match["figures"]):
            told, name = amounts.kib(figure["size"], unit), figure["name"]
            if told is None:
                continue
            size = round(told)
            if is_swap and name in (b"total", b"free"):
                kib.setdefault("SwapTotal" if name == b"total" else "SwapFree", size)
            elif name in _NAMES:
                kib.setdefault(_NAMES[name], size)
            elif name == b"used" and not is_swap:
                used = used or size
    if "MemFree" in kib and used:
        kib.setdefault("MemTotal", kib["MemFree"] + used)  # busybox has the two alone
    kib.setdefault("Buffers", 0)  # where they are not told they are in the other figure
    if 0 < kib.get("MemTotal", 0) <= bounds.PAGES * 4:
        notes.accounts.meminfo = Meminfo(kib["MemTotal"] * 1024, amounts.bytes_of(kib.get("MemFree")), None, kib)
    return notes


TOP = AccountSource("top", _recognises, _read)
