"""A second, slow reading of page_owner text: line by line, every record an object. The witness of the fast one."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

_HEADER = re.compile(
    rb"Page allocated via order (?P<order>\d+), mask (?P<mask>0x[0-9a-f]+)\((?P<flags>[^)]*)\)"
    rb"(?:, pid (?P<pid>-?\d+))?(?:, tgid (?P<tgid>-?\d+))?(?: \((?P<comm>.*)\))?"
    rb"(?:, ts (?P<ts>\d+) ns)?(?:, free_ts \d+ ns)?"
)


@dataclass(frozen=True)
class Seen:
    """One record."""

    pfn: int
    order: int
    gfp_mask: int
    gfp_flags: str
    pid: int | None
    tgid: int | None
    comm: str | None
    ts_ns: int | None
    node: int | None
    zone: int | None
    frames: tuple[str, ...]
    memcg: str | None

    @property
    def pages(self) -> int:
        """Base pages."""
        return 1 << self.order


def records(text: bytes) -> list[Seen]:
    """Every whole record of an undamaged dump."""
    return [_record(block) for block in text.split(b"\n\n") if block.strip()]


def pages_per_stack(text: bytes) -> Counter[tuple[str, ...]]:
    """Base pages per stack of an undamaged dump."""
    return sums(records(text))


def sums(seen: list[Seen]) -> Counter[tuple[str, ...]]:
    """Base pages per stack."""
    pages: Counter[tuple[str, ...]] = Counter()
    for record in seen:
        pages[record.frames] += record.pages
    return pages


def _record(block: bytes) -> Seen:
    lines = block.strip(b"\n").split(b"\n")
    header = _HEADER.fullmatch(lines[0])
    assert header is not None, lines[0]
    assert lines[1].startswith(b"PFN "), lines[1]
    names = lines[1].rpartition(b"(")[2].rstrip(b")").split(b"|")
    node = [name[5:] for name in names if name.startswith(b"node=")]
    zone = [name[5:] for name in names if name.startswith(b"zone=")]
    memcg = [line.partition(b"memcg ")[2] for line in lines[2:] if line.startswith(b"Charged ")]
    return Seen(
        pfn=int(lines[1].split()[1], 0),
        order=int(header["order"]),
        gfp_mask=int(header["mask"], 16),
        gfp_flags=header["flags"].decode(),
        pid=None if header["pid"] is None else int(header["pid"]),
        tgid=None if header["tgid"] is None else int(header["tgid"]),
        comm=None if header["comm"] is None else header["comm"].decode(),
        ts_ns=None if header["ts"] is None else int(header["ts"]),
        node=int(node[0]) if node else None,
        zone=int(zone[0]) if zone else None,
        frames=tuple(line[1:].decode() for line in lines[2:] if line.startswith(b" ")),
        memcg=memcg[0].decode() if memcg else None,
    )
