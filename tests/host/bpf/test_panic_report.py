from __future__ import annotations

import re
import struct
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

import oomscope
from oomscope.sources.tracker import panic_report
from oomscope.sources.tracker.panic_report import REPORT_BYTES, decode

BPF = Path(oomscope.__file__).parent / "host" / "bpf"
MAGIC = 0x32706F63736D6F6F
SIZES = {"__u64": 8, "__u32": 4}


def c_members(name: str) -> list[tuple[str, str, str]]:
    """Type, name and array size of a structure's members, as the header has them."""
    header = (BPF / "panic_report.h").read_text()
    body = re.search(rf"struct {name} \{{(.*?)\n\}};", header, re.DOTALL)
    assert body is not None
    text = re.sub(r"/\*.*?\*/", "", body[1], flags=re.DOTALL)
    return re.findall(r"(__u\d\d|struct \w+) (\w+)(?:\[(\w+)\])?;", text)


def raw_report(**numbers: int) -> bytes:
    """A report as the program would lay it out, by the header alone."""
    raw = b""
    parts = {
        "struct consumer": struct.pack("<QII64QQ", 7, 5, 2, 0x10, 0x20, *[0] * 62, 3) * panic_report.CONSUMERS,
        "struct culprit": struct.pack("<QQQQQQQQ", 70, 24, 0x10, 9, 11, 2, 0x20, 4) + bytes(32),
    }
    for kind, name, _ in c_members("report"):
        raw += numbers.get(name, 0).to_bytes(SIZES[kind], "little") if kind in SIZES else parts[kind]
    return raw


def test_the_layout_is_the_headers() -> None:
    """What Python reads is what C writes: sizes, order and limits come from the header."""
    header = (BPF / "panic_report.h").read_text()
    limits = dict(re.findall(r"#define (\w+) (\d+)$", header, re.MULTILINE))
    assert (int(limits["REPORTS"]), int(limits["CONSUMERS"]), int(limits["FRAMES"]), int(limits["CULPRITS"])) == (
        panic_report.REPORTS,
        panic_report.CONSUMERS,
        panic_report.FRAMES,
        panic_report.CULPRITS,
    )
    magic = re.search(r"REPORT_MAGIC (0x[0-9a-f]+)ULL", header)
    assert magic is not None
    names = [name for kind, name, _ in c_members("report") if kind in SIZES]
    numbers = {name: 1000 + place for place, name in enumerate(names)} | {"magic": int(magic[1], 16), "consumers": 2}
    raw = raw_report(**numbers)
    assert len(raw) == REPORT_BYTES
    report = decode(raw)
    assert report is not None
    for name in set(names) - {"magic", "reserved", "stopped", "consumers"}:
        assert getattr(report, name) == numbers[name], name
    assert report.stopped
    assert [(c.pages, c.handle, c.frames, c.bound_pages) for c in report.consumers] == [(7, 5, (0x10, 0x20), 3)] * 2
    assert [(c.pages, c.stacks, c.frame, c.bound_pages) for c in report.culprits] == [
        (70, 24, 0x10, 9),
        (11, 2, 0x20, 4),
    ]


@given(st.binary(max_size=64), st.integers(0, REPORT_BYTES - 64))
def test_damaged_reports_are_none_or_bounded(noise: bytes, at: int) -> None:
    """Whatever a dump holds in the map's place, no more is read than there is room for."""
    raw = raw_report(magic=MAGIC, consumers=3)
    report = decode(raw[:at] + noise + raw[at + len(noise) :])
    if report is not None:
        assert len(report.consumers) <= panic_report.CONSUMERS
        assert all(len(consumer.frames) <= panic_report.FRAMES for consumer in report.consumers)


def test_what_was_not_finished_is_no_report() -> None:
    """The mark is written last: without it, or cut short, there is nothing."""
    assert decode(raw_report(magic=0)) is None
    assert decode(raw_report(magic=MAGIC)[:100]) is None
