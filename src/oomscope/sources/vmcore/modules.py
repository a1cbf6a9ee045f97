"""The modules that were loaded, and their symbols, without their debug info (kernel/module/kallsyms.c)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import drgn
import numpy as np
from drgn.helpers.linux.list import list_for_each_entry

from oomscope.model.unknown import Unknown
from oomscope.sources.vmcore.kallsyms import ModuleSymbols

if TYPE_CHECKING:
    from oomscope.sources.vmcore.dump import Dump

_ELF64_SYM = np.dtype(
    [("name", "<u4"), ("info", "u1"), ("other", "u1"), ("shndx", "<u2"), ("value", "<u8"), ("size", "<u8")]
)
_MOST_MODULES = 4096
_MOST_SYMBOLS = 1 << 20
_MOST_NAMES_BYTES = 1 << 26


def modules(dump: Dump) -> Iterator[ModuleSymbols]:
    """Every loaded module; one whose description is damaged ends the list."""
    try:
        head = dump.prog["modules"].address_of_()
        for number, module in enumerate(list_for_each_entry("struct module", head, "list")):
            if number >= _MOST_MODULES:
                return
            yield _symbols(dump, module)
    except (LookupError, drgn.FaultError, AttributeError, ValueError) as error:
        dump.damage.append(Unknown("the modules and their symbols", f"their list cannot be read: {error}"))


def last_unloaded(dump: Dump) -> str | None:
    """The name of the module that was unloaded last (kernel/module/main.c), None where none was."""
    at = dump.symbols.address_of("last_unloaded_module")
    return None if at is None else dump.text_at(at, 56) or None


def _symbols(dump: Dump, module: drgn.Object) -> ModuleSymbols:
    kallsyms = module.kallsyms
    count = min(int(kallsyms.num_symtab), _MOST_SYMBOLS)
    table = dump.bytes_at(int(kallsyms.symtab), count * _ELF64_SYM.itemsize).view(_ELF64_SYM)
    used = table[1:][table["shndx"][1:] != 0]
    ends = int(used["name"].max(initial=0)) + 256
    strings = dump.bytes_at(int(kallsyms.strtab), min(ends, _MOST_NAMES_BYTES)).tobytes()
    found = [(int(sym["value"]), _name(strings, int(sym["name"]))) for sym in used]
    found = [(value, name) for value, name in found if name and not name.startswith(("$", ".L", "L0"))]
    found.sort(key=lambda pair: pair[0])
    return ModuleSymbols(
        name=module.name.string_().decode(errors="backslashreplace"),
        ranges=tuple(_code(module)),
        addresses=np.array([value for value, _ in found], np.uint64),
        names=tuple(name for _, name in found),
    )


def _name(strings: bytes, at: int) -> str:
    return strings[at : strings.find(b"\0", at)].decode(errors="backslashreplace")


def _code(module: drgn.Object) -> Iterator[tuple[int, int]]:
    """Where the module's code lies: module_memory from 6.4 on, module_layout from 4.5, fields of the module before."""
    prog = module.prog_
    if module.type_.type.has_member("mem"):
        for kind in ("MOD_TEXT", "MOD_INIT_TEXT"):
            memory = module.mem[prog.constant(kind)]
            yield memory.base.value_(), memory.base.value_() + int(memory.size)
        return
    for name in ("core_layout", "init_layout"):
        layout = module.member_(name)
        yield layout.base.value_(), layout.base.value_() + int(layout.text_size)
