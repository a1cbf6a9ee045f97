"""VMCOREINFO: what a kernel says of itself to those who read its memory (kernel/vmcore_info.c)."""

from __future__ import annotations

import itertools
import mmap
import re
from pathlib import Path

import drgn

# As append_elf_note() writes it: n_namesz (11), n_descsz, n_type (0), the name padded to 12 bytes.
_NOTE = re.compile(rb"\x0b\0\0\0(?P<descsz>.{4})\0\0\0\0VMCOREINFO\0\0(?=OSRELEASE=)", re.DOTALL)
_MOST_NOTES = 64
_LARGEST_BYTES = 4096  # VMCOREINFO_BYTES is a page
_SYMBOL = re.compile(r"SYMBOL\((?P<name>\w+)\)")
_ADDRESS = re.compile(r"[0-9a-f]{1,16}")
_OF_SOMETHING_ELSE = ("mem_section", "swapper_pg_dir")  # a pointer's value; on x86-64 another symbol's address
_INIT_UTS_NS_BYTES = 8 + 6 * 65  # at most a kref and struct new_utsname


def of(prog: drgn.Program) -> dict[str, str]:
    """Its lines by their keys."""
    return _lines(prog["VMCOREINFO"].string_())


def in_memory(path: Path) -> list[bytes]:
    """Every text of VMCOREINFO that stands as a note in the memory of an ELF dump, each once, in the dump's order.

    The kernel writes the note at boot, so it is there whether or not the dumper was told of it. So may be the note of
    the kernel before a reboot, and the same name in the memory of programs that look for it: what has not the note's
    header and its size is none.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
        if memory[:4] != b"\x7fELF":
            return []
        found: dict[bytes, None] = {}
        for note in itertools.islice(_NOTE.finditer(memory), _MOST_NOTES):
            size = int.from_bytes(note["descsz"], "little")
            text = memory[note.end() : note.end() + min(size, _LARGEST_BYTES)]
            if len(text) == size and b"\0" not in text and "PAGESIZE" in _lines(text):
                found[text] = None
        return list(found)


def is_of(prog: drgn.Program) -> bool:
    """Whether the memory of `prog` is of the kernel that its VMCOREINFO speaks of: its utsname names the release."""
    told = of(prog)
    try:
        address = int(told["SYMBOL(init_uts_ns)"], 16)
        return told["OSRELEASE"].encode() + b"\0" in prog.read(address, _INIT_UTS_NS_BYTES)
    except (LookupError, ValueError, drgn.FaultError):
        return False


def symbols(told: dict[str, str]) -> dict[str, int]:
    """The addresses of the symbols it tells, by their names."""
    found = ((match["name"], value) for key, value in told.items() if (match := _SYMBOL.fullmatch(key)))
    return {name: int(at, 16) for name, at in found if _ADDRESS.fullmatch(at) and name not in _OF_SOMETHING_ELSE}


def _lines(text: bytes) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.decode(errors="replace").splitlines() if "=" in line)
