"""`free` (procps): a few figures of /proc/meminfo, in kB or in whatever unit was asked for."""

from __future__ import annotations

import re

from oomscope import bounds
from oomscope.model.reading import Meminfo, Notes
from oomscope.model.unknown import Unknown
from oomscope.sources.base import AccountSource
from oomscope.sources.tools import amounts
from oomscope.text import Lines

HEADER = re.compile(
    rb" *+total +used +free +shared +(?:buff/cache +available|buffers +cache +available|buffers(?: +cached?)?)\s*$"
)
# What was asked for, where the prompt is there: `$ free -g`.
ASKED = re.compile(rb".{0,120}?(?:[#$>%~] ?|^)free(?: -\w{1,4}| --\w{2,8}){0,3} --?(?P<unit>[bkmgt])\w{0,9}\s*$")
_ASKED_KIB = {b"b": 1 / 1024, b"k": 1.0, b"m": 1024.0, b"g": float(1 << 20), b"t": float(1 << 30)}
_AMOUNT = rb"\d{1,15}(?:[.,]\d{1,3})?(?:[KMGTP]i?|[Bb])?"
ROW = re.compile(
    rb" *+(?P<what>Mem|Swap|[Mm]em\S{0,8}|-/\+ buffers(?:/cache)?): *(?P<amounts>"
    + _AMOUNT
    + rb"(?: +"
    + _AMOUNT
    + rb"){1,5})\s*$"
)
# The first row without its header, as an excerpt has it; which columns it has the row below tells.
BARE = re.compile(rb" *+Mem: +(?:\d{1,15} +){5}\d{1,15}\s*$")
_NEW, _OLD = b"total used free shared buff/cache available", b"total used free shared buffers cached"
_NAMES = {
    b"total": "MemTotal",
    b"free": "MemFree",
    b"shared": "Shmem",
    b"buffers": "Buffers",
    b"cached": "Cached",
    b"cache": "Cached",
    b"buff/cache": "Cached",  # page cache, buffers and reclaimable slab together
    b"available": "MemAvailable",
}
# Without a unit `free` tells kB; amounts that small are of `free -m`, or of `free -g` where they are smaller still.
_LEAST_KIB, _LEAST_MIB = 200_000, 2_048
_NO_UNIT = Unknown("free", "such small numbers may be MiB or GiB; keep the command's line above them, or give free -h")


def _recognises(head: bytes) -> bool:
    """The header with the row of Mem behind it, or that row with all its columns."""
    first, _, rest = head[:4096].lstrip(b"\r\n").partition(b"\n")
    return BARE.match(first.rstrip(b"\r")) is not None or (
        HEADER.match(first.rstrip(b"\r")) is not None and ROW.match(rest.partition(b"\n")[0].rstrip(b"\r")) is not None
    )


def _read(rows: Lines) -> Notes:
    """`notes.accounts.meminfo` has the figures by the names of /proc/meminfo."""
    notes = Notes()
    columns: list[bytes] = []
    kib: dict[str, int] = {}
    unit: float | None = 1.0
    memory: list[bytes] = []
    asked: float | None = None
    for line in rows:
        if line is not None and HEADER.match(line) is not None:
            columns = line.split()
            continue
        if line is not None and (told := ASKED.match(line)) is not None:
            asked = _ASKED_KIB[told["unit"]]
            continue
        match = None if line is None else ROW.match(line)
        if match is None:
            notes.stats.unknown_lines += line is None or bool(line.strip())
            continue
        words = match["amounts"].split()
        if match["what"] == b"Mem":
            unit = asked or _unit_of(words)
            memory = memory or words
        elif match["what"] == b"Swap" and unit is not None:
            for swap, word in zip(("SwapTotal", "", "SwapFree"), words, strict=False):
                if swap and (size := amounts.kib(word, unit)) is not None:
                    kib.setdefault(swap, round(size))
        elif not columns:
            columns = _OLD.split()
    columns = columns or _NEW.split()
    if unit is None:
        notes.absent = (_NO_UNIT,)
        return notes
    for name, word in zip(columns, memory, strict=False):
        if name in _NAMES and (size := amounts.kib(word, unit)) is not None:
            kib.setdefault(_NAMES[name], round(size))
    if b"buff/cache" in columns:
        kib.setdefault("Buffers", 0)  # they are in the other figure
    if 0 < kib.get("MemTotal", 0) <= bounds.PAGES * 4:
        notes.accounts.meminfo = Meminfo(kib["MemTotal"] * 1024, amounts.bytes_of(kib.get("MemFree")), None, kib)
    return notes


def _unit_of(words: list[bytes]) -> float | None:
    """What a number without a unit is in, in kB: small ones that are not all whole pages are of `free -m`.

    None where they may as well be of `free -g`: 251 is a small board's MiB and a large server's GiB.
    """
    numbers = [int(word) for word in words if word.isdigit()]
    if len(numbers) < len(words) or numbers[0] >= _LEAST_KIB:
        return 1.0
    if numbers[0] < _LEAST_MIB:
        return None
    return 1024.0 if any(number % 4 for number in numbers) else 1.0


FREE = AccountSource("free", _recognises, _read)
