"""The image of the kernel in memory, for what lies in it at a place that nothing tells."""

from __future__ import annotations

import drgn

from oomscope.sources.vmcore.vmcoreinfo import symbols

_CHUNK_BYTES, _PAGE_BYTES = 2 << 20, 4096
_MOST_BYTES, _MOST_UNMAPPED_BYTES = 256 << 20, 16 << 20


def read(prog: drgn.Program, vmcoreinfo: dict[str, str]) -> tuple[int, bytes] | None:
    """Where it begins, and its bytes; None where VMCOREINFO does not tell of its first function.

    What is not there is zeros; it ends where nothing is mapped any more.
    """
    first = symbols(vmcoreinfo).get("_stext")
    if first is None:
        return None
    start = first & ~(_PAGE_BYTES - 1)
    image, unmapped = bytearray(), 0
    while len(image) < _MOST_BYTES and unmapped < _MOST_UNMAPPED_BYTES:
        at = start + len(image)
        try:
            image += prog.read(at, _CHUNK_BYTES)
            unmapped = 0
            continue
        except (drgn.FaultError, ValueError, OverflowError):
            pass
        before = len(image)
        for page in range(at, at + _CHUNK_BYTES, _PAGE_BYTES):
            try:
                image += prog.read(page, _PAGE_BYTES)
                unmapped = 0
            except (drgn.FaultError, ValueError, OverflowError):
                image += bytes(_PAGE_BYTES)
                unmapped += _PAGE_BYTES
        assert len(image) == before + _CHUNK_BYTES
    return start, bytes(image)
