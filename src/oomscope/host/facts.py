"""What this machine's kernel offers and how it is set: /proc, /sys and the command line, one question each.

Everything is looked up below `root`, so that a folder can stand for a machine.
"""

from __future__ import annotations

import bisect
import itertools
import os
import platform
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path

_TEXT_SYMBOLS = "tTwW"
_NOTE = struct.Struct("<III")
_ELF_HEADER, _PROGRAM_HEADER = struct.Struct("<16xHHIQQQIHHH"), struct.Struct("<IIQQQQQQ")
_PT_NOTE = 4
_MOST_NOTE_BYTES = 1 << 20
_OWNER_BYTES = 72  # struct page_ext with struct page_owner, 6.8 and later; up to 6.7 it is 64
ARCHITECTURES = {"x86_64": "x86_64", "aarch64": "arm64"}


class PageOwnerState(Enum):
    """Whether the kernel records who allocates pages."""

    ON = "on"
    OFF = "off"
    NOT_BUILT = "not built in"


@dataclass(frozen=True, slots=True)
class Symbol:
    """One line of /proc/kallsyms."""

    address: int
    kind: str
    name: str
    module: str | None


class Machine:
    """A running machine."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def path(self, path: str | Path) -> Path:
        """Where a path of the machine is found."""
        return self.root / str(path).lstrip("/")

    def has(self, path: str | Path) -> bool:
        """Whether this user sees something at a path: folders of the kernel's are often closed to others."""
        return os.path.exists(self.path(path))

    def text(self, path: str | Path) -> str | None:
        """A small file's content without the last newline; None where it is not there or may not be read."""
        try:
            return self.path(path).read_text(errors="replace").rstrip("\n")
        except OSError:
            return None

    @property
    def architecture(self) -> str | None:
        """As the kernel calls it; None where oomscope has no program for it."""
        return ARCHITECTURES.get(platform.machine())

    @property
    def is_root(self) -> bool:
        """Whether this process may change the kernel's settings."""
        return os.geteuid() == 0

    @property
    def ram_bytes(self) -> int | None:
        """MemTotal."""
        found = re.search(r"^MemTotal: +(\d+) kB$", self.text("/proc/meminfo") or "", re.MULTILINE)
        return None if found is None else int(found[1]) * 1024

    @property
    def possible_cpus(self) -> int:
        """How many processors there may be; 1 where that is not told."""
        last = re.split("[-,]", self.text("/sys/devices/system/cpu/possible") or "")[-1]
        return int(last) + 1 if last.isdigit() else 1

    @property
    def release(self) -> str:
        """The kernel's."""
        return self.text("/proc/sys/kernel/osrelease") or "unknown"

    @cached_property
    def command_line(self) -> tuple[str, ...]:
        """What the kernel was booted with."""
        return tuple((self.text("/proc/cmdline") or "").split())

    def boot_option(self, name: str) -> str | None:
        """The last value of an option on the kernel's command line, "" without one, None where it is not there."""
        values = [word.partition("=")[2] for word in self.command_line if word.partition("=")[0] == name]
        return values[-1] if values else None

    @property
    def has_types(self) -> bool:
        """Whether the kernel carries its own type information (CONFIG_DEBUG_INFO_BTF)."""
        return self.has("/sys/kernel/btf/vmlinux")

    @property
    def lockdown(self) -> str | None:
        """none, integrity or confidentiality; None where it cannot be told."""
        text = self.text("/sys/kernel/security/lockdown")
        found = None if text is None else re.search(r"\[(\w+)\]", text)
        return None if found is None else found[1]

    @property
    def tracefs(self) -> Path | None:
        """Where tracing's files are, as a path of the machine."""
        for path in ("/sys/kernel/tracing", "/sys/kernel/debug/tracing"):
            if self.has(f"{path}/tracing_on"):
                return Path(path)
        return None

    @property
    def page_owner(self) -> PageOwnerState:
        """From debugfs, which has the file only where page_owner runs, else from the command line."""
        if self.has("/sys/kernel/debug/page_owner"):
            return PageOwnerState.ON
        if self.symbols and "init_page_owner" not in self.symbols and "__set_page_owner" not in self.symbols:
            return PageOwnerState.NOT_BUILT
        if self.has("/sys/kernel/debug/sched") or self.has("/sys/kernel/debug/tracing"):
            return PageOwnerState.OFF
        return PageOwnerState.ON if self.boot_option("page_owner") in ("on", "1", "y") else PageOwnerState.OFF

    @property
    def page_owner_cost_bytes(self) -> int | None:
        """What page_owner=on would take: an entry of page_ext for each page of RAM. None where RAM is not told."""
        ram_bytes = self.ram_bytes
        return None if ram_bytes is None else ram_bytes // os.sysconf("SC_PAGE_SIZE") * _OWNER_BYTES

    @cached_property
    def symbols(self) -> dict[str, int]:
        """Addresses of the kernel's own symbols, 0 where they are hidden (kernel.kptr_restrict)."""
        return {symbol.name: symbol.address for symbol in self._symbols if symbol.module is None}

    @property
    def hides_addresses(self) -> bool:
        """Whether /proc/kallsyms shows zeros."""
        return not any(self.symbols.values())

    @property
    def core_text(self) -> tuple[int, int]:
        """Where the kernel's own code begins and ends: no module's, no BPF program's."""
        return self.symbols.get("_stext", 0), self.symbols.get("_etext", 0)

    def is_code(self, address: int) -> bool:
        """Whether an address is in the kernel's own code or a module's memory; where that is not told, it may be."""
        start, end = self.core_text
        return (
            not end
            or start <= address < end
            or any(int(base, 16) <= address < int(base, 16) + int(size) for _, size, base in self._loaded_modules())
        )

    def functions_like(self, name: str) -> list[str]:
        """A function and its forms with a compiler's suffix (.isra.0, .constprop.0), the plain one first.

        Pieces of it (.cold, .part.0) take other arguments and are none.
        """
        forms = {s.name for s in self._symbols if s.kind in _TEXT_SYMBOLS and s.name.startswith(f"{name}.")}
        forms -= {form for form in forms if ".cold" in form or ".part." in form}
        return [*([name] if name in self.symbols else []), *sorted(forms)]

    def extent(self, name: str) -> tuple[int, int] | None:
        """Where a function begins and where the next symbol does; None where there is no such function."""
        start = self.symbols.get(name)
        if not start:
            return None
        at = bisect.bisect_right(self._starts, start)
        return (start, self._starts[at]) if at < len(self._starts) else None

    @property
    def code(self) -> list[tuple[int, str, str]]:
        """Where each function starts, its name and its module ("": the kernel's own); without a name, a module ends."""
        self._notice_modules()
        return self._code

    def next_start(self, address: int) -> int:
        """Where the next function begins."""
        at = bisect.bisect_right(self._starts, address)
        return self._starts[at] if at < len(self._starts) else address + 1

    @staticmethod
    def is_module(name: str) -> bool:
        """Whether this is a module, and not what kallsyms calls those whose code is made while the kernel runs."""
        return bool(name) and name != "bpf" and not name.startswith("__builtin__")

    def frames(self, addresses: Iterable[int]) -> list[str]:
        """Return addresses as %pS prints them; an address without symbol is that address.

        Symbols are read again when modules came or went: give many addresses at once.
        """
        self._notice_modules()
        code, starts = self._code, self._starts
        named = []
        for address in addresses:
            at = bisect.bisect_right(starts, address) - 1
            start, name, module = code[at] if 0 <= at < len(code) - 1 else (0, "", "")
            if not name:
                named.append(f"{address:#018x}")
                continue
            size = starts[bisect.bisect_right(starts, start)] - start
            named.append(f"{name}+{address - start:#x}/{size:#x}" + (f" [{module}]" if module else ""))
        return named

    @cached_property
    def vmcoreinfo(self) -> dict[str, str]:
        """What the kernel tells of itself for core dumps, from the notes of /proc/kcore; empty if not to be read."""
        try:
            with self.path("/proc/kcore").open("rb") as kcore:
                header = _ELF_HEADER.unpack(kcore.read(_ELF_HEADER.size))
                start, entry_bytes, entries = header[4], header[8], header[9]
                kcore.seek(start)
                table = kcore.read(entry_bytes * entries)
                for index in range(entries):
                    kind, _, at, _, _, size, _, _ = _PROGRAM_HEADER.unpack_from(table, index * entry_bytes)
                    if kind == _PT_NOTE:
                        kcore.seek(at)
                        return _vmcoreinfo(kcore.read(min(size, _MOST_NOTE_BYTES)))
        except (OSError, struct.error):
            pass
        return {}

    def _notice_modules(self) -> None:
        if self.__dict__.get("_modules") != (now := self._loaded_modules()):
            for stale in ("symbols", "_symbols", "_code", "_starts"):
                self.__dict__.pop(stale, None)
            self._modules = now

    def _loaded_modules(self) -> tuple[tuple[str, str, str], ...]:
        """Name, size and address of each."""
        lines = (line.split() for line in (self.text("/proc/modules") or "").splitlines())
        return tuple((words[0], words[1], words[5]) for words in lines if len(words) > 5)

    @cached_property
    def _code(self) -> list[tuple[int, str, str]]:
        """Where each function begins, and, without a name, where a module's memory ends and no other has begun."""
        code = sorted((s.address, s.name, s.module or "") for s in self._symbols if s.kind in _TEXT_SYMBOLS)
        ends = {name: int(address, 16) + int(size) for name, size, address in self._loaded_modules()}
        gaps = [
            (ends[module], "", "")
            for (last, _, module), (start, _, following) in itertools.pairwise(code)
            if module in ends and following != module and last < ends[module] < start
        ]
        return sorted(code + gaps)

    @cached_property
    def _starts(self) -> list[int]:
        return [address for address, _, _ in self._code]

    @cached_property
    def _symbols(self) -> list[Symbol]:
        found = []
        for line in (self.text("/proc/kallsyms") or "").splitlines():
            address, kind, name, *module = line.split()
            found.append(Symbol(int(address, 16), kind, name, module[0].strip("[]") if module else None))
        return found


def _vmcoreinfo(notes: bytes) -> dict[str, str]:
    at = 0
    while at + _NOTE.size <= len(notes):
        name_bytes, text_bytes, _ = _NOTE.unpack_from(notes, at)
        at += _NOTE.size
        name = notes[at : at + name_bytes].rstrip(b"\0")
        at += -(-name_bytes // 4) * 4
        text = notes[at : at + text_bytes]
        at += -(-text_bytes // 4) * 4
        if name == b"VMCOREINFO":
            pairs = (line.partition("=") for line in text.decode(errors="replace").splitlines())
            return {key: value for key, equals, value in pairs if equals}
    return {}
