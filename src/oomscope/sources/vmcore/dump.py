"""A core dump or the live kernel, open: memory, types and symbols (opening.py)."""

from __future__ import annotations

from pathlib import Path

import drgn
import numpy as np
import numpy.typing as npt

from oomscope.model.unknown import Unknown
from oomscope.sources.vmcore.kallsyms import Kallsyms

Bytes = npt.NDArray[np.uint8]
_PAGE_BYTES = 4096
_MOST_BYTES = 1 << 30  # no array that is read in one go is larger


class Dump:
    """An open dump.

    `symbols` names addresses; `vmlinux` is the debug info in use, None where BTF serves. `unread_bytes` of
    `asked_bytes` could not be read so far (a truncated core, pages that makedumpfile left out); `damage` names what
    turned out to be unreadable on the way. `lacks` is one clause on what the file itself lacks.
    """

    lacks: str | None = None

    def __init__(self, prog: drgn.Program, symbols: Kallsyms, vmcoreinfo: dict[str, str], vmlinux: Path | None) -> None:
        self.prog = prog
        self.symbols = symbols
        self.vmcoreinfo = vmcoreinfo
        self.vmlinux = vmlinux
        self.asked_bytes = 0
        self.unread_bytes = 0
        self.damage: list[Unknown] = []
        self.page_size_bytes = int(prog["PAGE_SIZE"])

    @property
    def is_live(self) -> bool:
        """Whether this is the running kernel."""
        return bool(self.prog.flags & drgn.ProgramFlags.IS_LIVE)

    def number(self, name: str) -> int | None:
        """A global number, None where this kernel has no such symbol."""
        try:
            value = self.prog[name]
            return int(value.counter if _has(value.type_, "counter") else value)
        except (LookupError, drgn.FaultError, TypeError):
            return None

    def constant(self, name: str) -> int | None:
        """An enumerator's value, None where this kernel has none of that name."""
        try:
            return int(self.prog.constant(name))
        except (LookupError, TypeError):
            return None

    def offset(self, type_name: str, member: str) -> int | None:
        """Where a member lies in a type, None where the type or the member does not exist."""
        try:
            return int(drgn.offsetof(self.prog.type(type_name), member))
        except LookupError:
            return None

    def size(self, type_name: str) -> int | None:
        """The size of a type, None where it does not exist."""
        try:
            return int(drgn.sizeof(self.prog.type(type_name)))
        except (LookupError, TypeError):
            return None

    def bytes_at(self, address: int, size: int) -> Bytes:
        """`size` bytes at a virtual address. What cannot be read is zero and is counted in `unread_bytes`."""
        self.asked_bytes += size
        if not 0 <= size <= _MOST_BYTES:
            raise ValueError(f"a range of {size:,} bytes: its length is damaged")
        try:
            return np.frombuffer(self.prog.read(address, size), np.uint8)
        except (drgn.FaultError, ValueError, OverflowError):
            return self._piecewise(address, size)

    def words_at(self, address: int, count: int) -> npt.NDArray[np.uint64]:
        """`count` 64-bit words; see bytes_at."""
        return self.bytes_at(address, 8 * count).view(np.uint64)

    def text_at(self, address: int, most: int = 256) -> str:
        """A C string, "" where it cannot be read."""
        try:
            return str(self.prog.read_c_string(address, max_size=most).decode(errors="backslashreplace"))
        except (drgn.FaultError, ValueError, OverflowError):
            return ""

    def _piecewise(self, address: int, size: int) -> Bytes:
        """Page by page, where a whole range cannot be had."""
        found = np.zeros(size, np.uint8)
        at = 0
        while at < size:
            step = min(_PAGE_BYTES - (address + at) % _PAGE_BYTES, size - at)
            try:
                found[at : at + step] = np.frombuffer(self.prog.read(address + at, step), np.uint8)
            except (drgn.FaultError, ValueError, OverflowError):
                self.unread_bytes += step
            at += step
        return found


def _has(type_: drgn.Type, member: str) -> bool:
    while type_.kind == drgn.TypeKind.TYPEDEF:
        type_ = type_.type
    return type_.kind in (drgn.TypeKind.STRUCT, drgn.TypeKind.UNION) and type_.has_member(member)
