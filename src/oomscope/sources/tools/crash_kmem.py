"""`kmem -i` and the zones of `kmem -z` as the crash tool prints them."""

from __future__ import annotations

import re

from oomscope import bounds
from oomscope.model.reading import Meminfo, Notes
from oomscope.sources.base import AccountSource
from oomscope.sources.tools import amounts
from oomscope.text import Lines

HEADER = re.compile(rb" *+PAGES +TOTAL +PERCENTAGE\s*$")
ROW = re.compile(
    rb" *+(?P<name>TOTAL MEM|FREE|USED|SHARED|BUFFERS|CACHED|SLAB|TOTAL HUGE|HUGE FREE|TOTAL SWAP|SWAP USED|SWAP FREE"
    rb"|COMMIT LIMIT|COMMITTED) +(?P<pages>\d{1,15}) +(?P<size>\d{1,9}(?:\.\d)?) ?(?P<unit>[KMGT]B)?(?= |\s*$)"
)
COUNTER = re.compile(rb" *+(?P<name>NR_[A-Z_]{2,40}): (?P<pages>\d{1,15})\s*$")
_ABOUT = re.compile(rb" *+(?:NODE: \d|SIZE: \d|VM_STAT:|crash> )")
_NAMES = {
    b"TOTAL MEM": "MemTotal",
    b"FREE": "MemFree",
    b"BUFFERS": "Buffers",
    b"CACHED": "Cached",
    b"SLAB": "Slab",
    b"TOTAL HUGE": "Hugetlb",
    b"TOTAL SWAP": "SwapTotal",
    b"SWAP FREE": "SwapFree",
}
_UNITS = {b"KB": 1, b"MB": 1 << 10, b"GB": 1 << 20, b"TB": 1 << 30}
_PAGE_KIB = (4, 8, 16, 64)


def _recognises(head: bytes) -> bool:
    """The header at the very beginning."""
    return HEADER.match(head.lstrip(b"\r\n").partition(b"\n")[0].rstrip(b"\r")) is not None


def _read(rows: Lines) -> Notes:
    """`notes.accounts.meminfo` has the figures of the machine, by the names of /proc/meminfo."""
    notes = Notes()
    pages: dict[bytes, int] = {}
    page_kib = 4
    for line in rows:
        match = None if line is None else ROW.match(line)
        if match is None:
            known = line is not None and (
                not line.strip() or HEADER.match(line) or COUNTER.match(line) or _ABOUT.match(line)
            )
            notes.stats.unknown_lines += not known
            continue
        pages.setdefault(match["name"], int(match["pages"]))
        if match["name"] == b"TOTAL MEM" and match["unit"] is not None and int(match["pages"]):
            kib = float(match["size"]) * _UNITS[match["unit"]]
            page_kib = min(_PAGE_KIB, key=lambda size: abs(size * int(match["pages"]) - kib))
    total = pages.get(b"TOTAL MEM", 0)
    if 0 < total <= bounds.PAGES:
        kib_of = {_NAMES[name]: count * page_kib for name, count in pages.items() if name in _NAMES}
        free_bytes = amounts.bytes_of(kib_of.get("MemFree"))
        notes.accounts.meminfo = Meminfo(total * page_kib * 1024, free_bytes, None, kib_of, page_kib * 1024)
    return notes


CRASH_KMEM = AccountSource("crash kmem -i", _recognises, _read)
