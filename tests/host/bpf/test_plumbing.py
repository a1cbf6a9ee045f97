"""What the program on the OOM path is told of frames: what it makes of it in a kernel is tested in the lab."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import oomscope
from oomscope.attribution.frame_rules import frame_row
from oomscope.host.bpf.plumbing import Plumbing, plumbing
from oomscope.model.stack import Frame
from tests.host.bpf.test_arm import machine
from tests.support import captures

HEADER = (Path(oomscope.__file__).parent / "host" / "bpf" / "culprits.h").read_text()
CULPRITS_H = {name: int(value) for name, value in re.findall(r"\b([A-Z_]+) = (\d+)", HEADER)}
ROLES = {
    "answers": "ANSWERS",
    "encloses": "ANSWERS",
    "plumbing": "IS_PLUMBING",
    "entry": "IS_ENTRY",
    "label": "IS_LABEL",
}
OF_NOBODY = ("user", "page-cache", "hugetlb", "balloon")
CORE, MODULES = 0xFFFFFFFF81000000, 0xFFFFFFFFC0000000


def kallsyms(names: list[str], modules: dict[str, list[str]]) -> str:
    """256 bytes for each function; modules behind each other, as they are loaded."""
    lines = [f"{CORE:016x} T _stext"]
    lines += [f"{CORE + 0x100 * number:016x} T {name}" for number, name in enumerate(names, 1)]
    lines += [f"{CORE + 0x100 * (len(names) + number):016x} T {name}" for number, name in ((1, "_etext"), (9, "_end"))]
    at = MODULES
    for module, functions in modules.items():
        for name in functions:
            lines.append(f"{at:016x} t {name}\t[{module}]")
            at += 0x100
    return "\n".join(lines) + "\n"


def says(known: Plumbing, address: int) -> int | None:
    """frame_says() of culprits.h: what the range around an address says; None where none is."""
    found = known.ranges[(known.ranges[:, 0] <= address) & (known.ranges[:, 1] > address)]
    assert len(found) <= 1
    return int(found[0, 2]) if len(found) else None


def test_what_a_range_says_is_the_row_of_its_function(tmp_path: Path) -> None:
    """For every function in the stacks of a real kernel: its role and kind, none where the table has no row."""
    verdict = oomscope.explain(captures.DATA / "many-paths-6.12")
    symbols = sorted({f.symbol for c in verdict.consumers for f in c.holding.stack.frames if f.module is None})
    assert len(symbols) > 100
    known = plumbing(machine(tmp_path, proc__kallsyms=kallsyms(symbols, {}), proc__modules=""))
    with_a_row = 0
    for number, symbol in enumerate(symbols, 1):
        row = frame_row(Frame(symbol, symbol).function)
        address = CORE + 0x100 * number
        said = {says(known, at) for at in (address, address + 0xFF)}
        if row is None or row.role == "encloses":
            assert said == {None}, symbol
            continue
        with_a_row += 1
        kind = "KIND_KERNEL" if row.kind == "kernel" else "KIND_OF_NOBODY" if row.kind in OF_NOBODY else "KIND_OTHER"
        assert said == {CULPRITS_H[ROLES[row.role]] | (0 if row.kind is None else CULPRITS_H[kind])}, symbol
    assert with_a_row > 50
    assert known.image == (CORE, CORE + 0x100 * (len(symbols) + 9))


def test_the_ranges_are_sorted_and_apart(tmp_path: Path) -> None:
    """The program looks them up by halving; neighbours that say the same are one."""
    names = ["alloc_pages_noprof", "__alloc_pages_noprof.isra.0", "somebody", "vfs_read", "copy_net_ns"]
    known = plumbing(machine(tmp_path, proc__kallsyms=kallsyms(names, {}), proc__modules=""))
    starts, ends = known.ranges[:, 0], known.ranges[:, 1]
    assert np.all(starts[1:] >= ends[:-1])
    assert (int(starts[0]), int(ends[0])) == (CORE + 0x100, CORE + 0x300)
    assert known.enclosing == ((CORE + 0x500, CORE + 0x600),)


def test_modules_are_known_and_code_made_while_running_is_not(tmp_path: Path) -> None:
    """A module's function answers; programs and trampolines come and go, and are found out when they are met."""
    modules = {
        "leak": ["take", "give"],
        "bpf": ["bpf_prog_6deef7357e7b4530_x"],
        "__builtin__ftrace": ["ftrace_trampoline"],
    }
    known = plumbing(
        machine(
            tmp_path,
            proc__kallsyms=kallsyms(["vfs_read"], modules),
            proc__modules="leak 4096 0 - Live 0xffffffffc0000000\n",
        )
    )
    assert says(known, MODULES + 0x80) == says(known, MODULES + 0x1FF) == CULPRITS_H["ANSWERS"]
    assert says(known, MODULES + 0x200) is says(known, MODULES + 0x300) is None


@pytest.mark.parametrize("names", [("sneaky", "alloc_pages_noprof"), ("alloc_pages_noprof", "sneaky")])
def test_of_two_names_of_one_place_the_known_one_counts(tmp_path: Path, names: tuple[str, str]) -> None:
    """Weak symbols and aliases share an address."""
    text = kallsyms(["before"], {}) + "".join(f"{CORE + 0x800:016x} T {name}\n" for name in names)
    known = plumbing(machine(tmp_path, proc__kallsyms=text + f"{CORE + 0x900:016x} T _behind\n", proc__modules=""))
    assert says(known, CORE + 0x810) == CULPRITS_H["IS_PLUMBING"]
