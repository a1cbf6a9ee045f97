"""The names of gfp flags, from the kernel's own table (gfpflag_names in mm/debug.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oomscope.sources.vmcore.dump import Dump

_MOST_NAMES = 128


class GfpNames:
    """Masks as %pGg prints them: GFP_KERNEL|__GFP_ZERO."""

    def __init__(self, dump: Dump) -> None:
        self._names: list[tuple[int, str]] = []
        at = dump.symbols.address_of("gfpflag_names")
        for number in range(_MOST_NAMES if at is not None else 0):
            mask, name = dump.words_at((at or 0) + 16 * number, 2).tolist()
            if not name:
                break
            self._names.append((mask, dump.text_at(name, 64)))

    def of(self, gfp_mask: int) -> str:
        """lib/vsprintf.c format_flags(): the names whose bits are all there, then what is left as a number."""
        found = []
        for mask, name in self._names:
            if mask and gfp_mask & mask == mask:
                found.append(name)
                gfp_mask &= ~mask
        if gfp_mask:
            found.append(f"{gfp_mask:#x}")
        return "|".join(found)
