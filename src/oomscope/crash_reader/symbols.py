"""Names of addresses as %pS prints them: of the kernel's image by its own kallsyms, of modules by their symbols.

kernel/kallsyms.c, kernel/module/kallsyms.c; where kallsyms lies VMCOREINFO tells from 6.0 on, before that the plan.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left, bisect_right
from contextlib import suppress

from oomscope.crash_reader.errors import Unread
from oomscope.crash_reader.memory import Memory, printable, u32, u64
from oomscope.crash_reader.plan import CrashPlan

_MOST_SYMBOLS, _MOST_MODULES, _MOST_MODULE_SYMBOLS, _MOST_PROGRAMS = 1 << 21, 4096, 1 << 20, 1 << 14
_MARK_EVERY = 256
_SYMBOL_BYTES = 24  # Elf64_Sym
_MOST_NAME_BYTES = 512  # of one, packed
_TEXT = (("_stext", "_etext"), ("_sinittext", "_einittext"))
_NO_NAMES = (b"$", b".L", b"L0", b"\0")


class Symbols:
    """Names addresses of code. What cannot be read is not named: the address stands for itself."""

    def __init__(self, memory: Memory, plan: CrashPlan) -> None:
        self._known: dict[int, str] = {}
        self.missing = ""
        self._text = [(plan.at(first), plan.at(end)) for first, end in _TEXT if plan.has(first) and plan.has(end)]
        try:
            self._image: _Image | None = _Image(memory, plan)
        except (Unread, IndexError, ValueError, struct.error) as error:
            self._image, self.missing = None, f"the kernel's symbols: {error}"
        self._modules, self._programs = _Modules(memory, plan), _Programs(memory, plan)

    def name(self, address: int) -> str:
        """`symbol+0xoffset/0xsize [module]`, or the address."""
        if address not in self._known:
            try:
                self._known[address] = self._named(address) or f"{address:#x}"
            except (Unread, IndexError, ValueError, struct.error):
                self._known[address] = f"{address:#x}"
        return self._known[address]

    def _named(self, address: int) -> str | None:
        if any(first <= address < end for first, end in self._text):
            return None if self._image is None else self._image.name(address)
        return self._modules.name(address) or self._programs.name(address)


class _Image:
    """The table that the kernel was linked with."""

    def __init__(self, memory: Memory, plan: CrashPlan) -> None:
        def place(name: str) -> int:
            told = memory.vmcoreinfo.get(f"SYMBOL(kallsyms_{name})")
            return plan.at(f"kallsyms_{name}") if told is None else int(told, 16)

        self._count = memory.int_at(place("num_syms"))
        if not 0 < self._count <= _MOST_SYMBOLS:
            raise Unread(f"a table of {self._count} symbols")
        offsets_at = place("offsets")
        offsets = array("i", memory.bytes_at(offsets_at, 4 * self._count))
        if plan.has("kallsyms_relative_base") or "SYMBOL(kallsyms_relative_base)" in memory.vmcoreinfo:
            base = memory.word_at(place("relative_base"))
            # CONFIG_KALLSYMS_ABSOLUTE_PERCPU (x86-64 up to 6.14): per-CPU symbols are positive, all else below zero.
            if min(offsets) < 0:
                self._starts = array("Q", (base - 1 - each if each < 0 else each for each in offsets))
            else:
                self._starts = array("Q", (base + each for each in offsets))
        else:  # 7.0 on: each is the distance from its own place
            self._starts = array("Q", (offsets_at + 4 * row + each for row, each in enumerate(offsets)))
        index_at = place("token_index")
        index = array("H", memory.bytes_at(index_at, 512))
        tokens_at, names_at = place("token_table"), place("names")
        tokens = memory.bytes_at(tokens_at, index[255] + 64)
        self._tokens = [tokens[at : tokens.index(b"\0", at)] for at in index]
        if not 0 < tokens_at - names_at <= _MOST_NAME_BYTES * self._count:
            raise Unread("the names do not end before their tokens")
        self._names = memory.bytes_at(names_at, tokens_at - names_at)  # and the markers, which lie between
        self._marks = array("I")

    def name(self, address: int) -> str | None:
        """get_symbol_pos(): the first of equal addresses names it; it ends where the next address begins."""
        behind = bisect_right(self._starts, address)
        if not 0 < behind < self._count:
            return None
        start, end = self._starts[behind - 1], self._starts[behind]
        row = bisect_left(self._starts, start)
        at, length = self._entry(self._place(row))
        symbol = b"".join(self._tokens[byte] for byte in self._names[at : at + length])[1:]
        return f"{printable(symbol)}+{address - start:#x}/{end - start:#x}"

    def _place(self, row: int) -> int:
        """Where a name begins: lengths are gone over once, and a mark is kept for each so many names."""
        if not self._marks:
            at = 0
            for number in range(self._count):
                if number % _MARK_EVERY == 0:
                    self._marks.append(at)
                start, length = self._entry(at)
                at = start + length
        at = self._marks[row // _MARK_EVERY]
        for _ in range(row % _MARK_EVERY):
            start, length = self._entry(at)
            at = start + length
        return at

    def _entry(self, at: int) -> tuple[int, int]:
        """Where a packed name's tokens begin, and how many they are: one byte, from 6.1 on two for long ones."""
        length = self._names[at]
        if length < 128:
            return at + 1, length
        return at + 2, length & 127 | self._names[at + 1] << 7


class _Modules:
    """The modules that were loaded, by their code."""

    def __init__(self, memory: Memory, plan: CrashPlan) -> None:
        self._memory, self._layout = memory, plan.layout
        self._ranges: list[tuple[int, int, str, int]] = []
        self._symbols: dict[int, list[tuple[int, int]]] = {}
        with suppress(Unread, struct.error):  # those before it are known
            self._read(plan)

    def _read(self, plan: CrashPlan) -> None:
        layout, seen = self._layout, set[int]()
        head = plan.at("modules")
        node = self._memory.word_at(head)
        while node != head and node not in seen and len(seen) < _MOST_MODULES:
            seen.add(node)
            module = node - layout["module.list"]
            raw = self._memory.bytes_at(module, layout["module"])
            name = printable(raw[layout["module.name"] :].split(b"\0")[0])
            for start, size in self._code(raw, plan):
                if size:
                    self._ranges.append((start, start + size, name, module))
            node = self._memory.word_at(node)

    def _code(self, raw: bytes, plan: CrashPlan) -> list[tuple[int, int]]:
        layout = self._layout
        if "module.mem" in layout:  # 6.4 on
            places = [
                layout["module.mem"] + plan.constants[kind] * layout["module_memory"]
                for kind in ("MOD_TEXT", "MOD_INIT_TEXT")
            ]
            base, size = layout["module_memory.base"], layout["module_memory.size"]
        else:
            places = [layout["module.core_layout"], layout["module.init_layout"]]
            base, size = layout["module_layout.base"], layout["module_layout.text_size"]
        return [(u64(raw, at + base), u32(raw, at + size)) for at in places]

    def name(self, address: int) -> str | None:
        """find_kallsyms_symbol(): the nearest below; it ends at the next one, or where the module's code does."""
        for start, end, name, module in self._ranges:
            if start <= address < end:
                symbols = self._symbols_of(module)
                behind = bisect_right(symbols, (address, 1 << 64))
                if not behind:
                    return f"{address:#x} [{name}]"
                begin = symbols[behind - 1][0]
                first = bisect_left(symbols, (begin, 0))
                stop = min(symbols[behind][0] if behind < len(symbols) else end, end)
                symbol = self._memory.text_at(symbols[first][1])
                return f"{symbol}+{address - begin:#x}/{stop - begin:#x} [{name}]"
        return None

    def _symbols_of(self, module: int) -> list[tuple[int, int]]:
        """(address, where its name is) of a module's symbols, sorted; equal addresses in the table's order."""
        if module not in self._symbols:
            layout, memory = self._layout, self._memory
            at = memory.word_at(module + layout["module.kallsyms"])
            table = memory.word_at(at + layout["mod_kallsyms.symtab"])
            count = memory.int_at(at + layout["mod_kallsyms.num_symtab"])
            strings = memory.word_at(at + layout["mod_kallsyms.strtab"])
            if count > _MOST_MODULE_SYMBOLS:
                raise Unread(f"a module of {count} symbols")
            raw = memory.bytes_at(table, _SYMBOL_BYTES * count)
            rows = list(struct.iter_unpack("<IBBHQQ", raw))[1:]
            found = [(value, strings + text) for text, _, _, section, value, _ in rows if section]
            found = [(value, at) for value, at in found if _is_a_name(memory.bytes_at(at, 2))]
            self._symbols[module] = sorted(found, key=lambda each: each[0])
        return self._symbols[module]


class _Programs:
    """BPF programs and trampolines: the list that the kernel itself names them by (kernel/bpf/core.c)."""

    def __init__(self, memory: Memory, plan: CrashPlan) -> None:
        self._ranges: list[tuple[int, int, str]] = []
        layout = plan.layout
        if not plan.has("bpf_kallsyms") or "bpf_ksym.lnode" not in layout:
            return
        head, seen = plan.at("bpf_kallsyms"), set[int]()
        try:
            node = memory.word_at(head)
            while node != head and node not in seen and len(seen) < _MOST_PROGRAMS:
                seen.add(node)
                symbol = node - layout["bpf_ksym.lnode"]
                start, end = (memory.word_at(symbol + layout[f"bpf_ksym.{edge}"]) for edge in ("start", "end"))
                self._ranges.append((start, end, memory.text_at(symbol + layout["bpf_ksym.name"])))
                node = memory.word_at(node)
        except Unread:
            return  # those before it are known

    def name(self, address: int) -> str | None:
        """As of the image, without a module."""
        for start, end, name in self._ranges:
            if start <= address < end and name:
                return f"{name}+{address - start:#x}/{end - start:#x}"
        return None


def _is_a_name(beginning: bytes) -> bool:
    return not beginning.startswith(_NO_NAMES)
