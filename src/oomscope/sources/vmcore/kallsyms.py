"""Names for addresses, exactly as the kernel's own %pS prints them (kernel/kallsyms.c, kernel/module/kallsyms.c)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Addresses = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class ModuleSymbols:
    """A loaded module: where its code lies as (start, end), and its symbols by address, names beside them.

    BPF code, which the kernel prints without a module, has the `name` "".
    """

    name: str
    ranges: tuple[tuple[int, int], ...]
    addresses: Addresses
    names: tuple[str, ...]


class Kallsyms:
    """Symbols of the kernel image, in the table's order (by address), and of the modules.

    `text` is the address range in which the image's symbols may name an address.
    """

    def __init__(self, addresses: Addresses, names: list[str]) -> None:
        order = np.argsort(addresses, kind="stable")
        self._addresses = addresses[order]
        self._names = [names[i] for i in order.tolist()]
        self._by_name: dict[str, int] = {}
        for name, address in zip(self._names, self._addresses.tolist(), strict=True):
            self._by_name.setdefault(name, address)
        self._modules: tuple[ModuleSymbols, ...] = ()
        ends = [self._by_name.get(name) for name in ("_stext", "_etext", "_sinittext", "_einittext")]
        self._text = [(a, b) for a, b in (ends[:2], ends[2:]) if a is not None and b is not None]

    def address_of(self, name: str) -> int | None:
        """The address of a symbol of the kernel image."""
        return self._by_name.get(name)

    def add_modules(self, modules: Iterable[ModuleSymbols]) -> None:
        """Take in the modules that were loaded."""
        self._modules = (*self._modules, *modules)

    def name(self, address: int) -> str:
        """`symbol+0xoffset/0xsize [module]`, or the address where no symbol covers it."""
        for start, end in self._text:
            if start <= address < end:
                return self._in_image(address)
        for module in self._modules:
            for start, end in module.ranges:
                if start <= address < end:
                    return _in_module(module, address, end)
        return f"{address:#x}"

    def _in_image(self, address: int) -> str:
        """get_symbol_pos(): the first of equal addresses names it; it ends where the next address begins."""
        last = int(np.searchsorted(self._addresses, np.uint64(address), side="right")) - 1
        if last < 0:
            return f"{address:#x}"
        start = int(self._addresses[last])
        first = int(np.searchsorted(self._addresses, np.uint64(start), side="left"))
        end = int(self._addresses[last + 1]) if last + 1 < len(self._addresses) else start
        return f"{self._names[first]}+{address - start:#x}/{end - start:#x}"


def _in_module(module: ModuleSymbols, address: int, range_end: int) -> str:
    """find_kallsyms_symbol(): the nearest symbol below; it ends at the next one, or where the module's code does."""
    suffix = f" [{module.name}]" if module.name else ""
    last = int(np.searchsorted(module.addresses, np.uint64(address), side="right")) - 1
    if last < 0:
        return f"{address:#x}{suffix}"
    start = int(module.addresses[last])
    first = int(np.searchsorted(module.addresses, np.uint64(start), side="left"))
    behind = int(np.searchsorted(module.addresses, np.uint64(start), side="right"))
    end = int(module.addresses[behind]) if behind < len(module.addresses) else range_end
    return f"{module.names[first]}+{address - start:#x}/{min(end, range_end) - start:#x}{suffix}"
