"""Kallsyms found by structure, in each form that kernels before 6.0 have (scripts/kallsyms.c).

That what is found on a real kernel is its /proc/kallsyms is tested on the lab's dumps.
"""

from __future__ import annotations

import struct

import pytest

pytest.importorskip("drgn")

import drgn

from oomscope.sources.vmcore.kallsyms_scan import places

START = 0xFFFFFFFF81000000
NAMES = [f"function_{number}" for number in range(3500)]
ADDRESSES = [START + 16 * number for number in range(len(NAMES))]
PER_CPU = ["cpu_number", "current_task"]  # absolute on x86-64, below all others
KNOWN = {"_stext": START, "init_uts_ns": START + 16 * 3000}
TEXT_BYTES = 1 << 20
FORMS = ["4.4", "4.15 x86-64", "5.10 x86-64", "5.10 arm64"]


def aligned(table: bytes) -> bytes:
    return table + bytes(-len(table) % 8)


def tables(form: str) -> dict[str, bytes]:
    """The tables in their order, as the build writes them; every token is its own byte."""
    symbols = sorted([*zip(ADDRESSES, NAMES, strict=True), *((at, name) for name, at in KNOWN.items())])
    symbols.sort(key=lambda symbol: (symbol[0], symbol[1] != "_stext"))
    if "x86-64" in form:
        symbols = [*((16 * number, name) for number, name in enumerate(PER_CPU)), *symbols]
    base = START
    found: dict[str, bytes] = {}
    if form == "4.4":
        found["addresses"] = b"".join(struct.pack("<Q", at) for at, _ in symbols)
    elif form == "5.10 arm64":
        found["offsets"] = b"".join(struct.pack("<I", at - base) for at, _ in symbols)
    else:
        found["offsets"] = b"".join(struct.pack("<i", at if at < base else base - 1 - at) for at, _ in symbols)
    if "offsets" in found:
        found["relative_base"] = struct.pack("<Q", base)
    found["num_syms"] = struct.pack("<Q", len(symbols))
    names, marks = b"", []
    for number, (_, name) in enumerate(symbols):
        if number % 256 == 0:
            marks.append(len(names))
        text = b"T" + name.encode()
        names += bytes([len(text)]) + text
    width = "Q" if form in ("4.4", "4.15 x86-64") else "I"
    tokens = [bytes([token]) if 32 < token < 127 else b"" for token in range(256)]
    index, at = [], 0
    for token in tokens:
        index.append(at)
        at += len(token) + 1
    found["names"] = names
    found["markers"] = b"".join(struct.pack(f"<{width}", mark) for mark in marks)
    found["token_table"] = b"".join(token + b"\0" for token in tokens)
    found["token_index"] = b"".join(struct.pack("<H", at) for at in index)
    return found


class Image:
    """What drgn.Program.read() is asked: text, the tables, and nothing behind them."""

    def __init__(self, content: bytes) -> None:
        self.content = content + bytes(-len(content) % 4096)

    def read(self, address: int, count: int) -> bytes:
        """Raises drgn.FaultError beyond the image."""
        at = address - START
        if not 0 <= at <= at + count <= len(self.content):
            raise drgn.FaultError("nothing is there", address)
        return self.content[at : at + count]


def image(form: str) -> tuple[bytes, dict[str, int]]:
    """The image, and where each table of it begins."""
    content, at = bytearray(TEXT_BYTES), {}
    for name, table in tables(form).items():
        at[name] = START + len(content)
        content += aligned(table)
    del at["markers"]
    return bytes(content), at


def told() -> dict[str, str]:
    return {f"SYMBOL({name})": f"{address:x}" for name, address in KNOWN.items()}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_found(form: str) -> None:
    """Addresses of 64 bits, offsets with absolute per-cpu symbols, unsigned offsets; markers of 32 and 64 bits."""
    content, expected = image(form)
    assert places(Image(content), told()) == expected


@pytest.mark.parametrize("form", FORMS)
def test_another_kernels_addresses_are_refused(form: str) -> None:
    """A symbol that VMCOREINFO has elsewhere, as of a kernel before a reboot: a wrong table is none."""
    content, _ = image(form)
    elsewhere = told() | {"SYMBOL(init_uts_ns)": f"{START + 8:x}"}
    assert places(Image(content), elsewhere) is None
    assert places(Image(content), {}) is None


@pytest.mark.parametrize("table", ["num_syms", "names", "token_table", "token_index"])
def test_a_table_with_a_hole_is_none(table: str) -> None:
    """As where a page of it is not in the dump."""
    content, at = image("5.10 x86-64")
    start = at[table] - START
    assert places(Image(content[:start] + bytes(64) + content[start + 64 :]), told()) is None
