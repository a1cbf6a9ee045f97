"""BPF programs, trampolines and dispatchers in memory, by the names that the kernel prints (kernel/bpf/core.c)."""

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

_MOST_IMAGES = 1 << 16


def bpf_code(dump: Dump) -> Iterator[ModuleSymbols]:
    """Every image of struct bpf_ksym (5.7 and later); nothing where the kernel keeps no such list."""
    if dump.symbols.address_of("bpf_kallsyms") is None or dump.size("struct bpf_ksym") is None:
        return
    try:
        head = dump.prog["bpf_kallsyms"].address_of_()
        for number, image in enumerate(list_for_each_entry("struct bpf_ksym", head, "lnode")):
            if number >= _MOST_IMAGES:
                return
            start, end = int(image.start), int(image.end)
            name = image.name.string_().decode(errors="backslashreplace")
            yield ModuleSymbols("", ((start, end),), np.array([start], np.uint64), (name,))
    except (LookupError, drgn.FaultError, AttributeError, ValueError) as error:
        dump.damage.append(Unknown("the names of BPF programs", f"their list cannot be read: {error}"))
