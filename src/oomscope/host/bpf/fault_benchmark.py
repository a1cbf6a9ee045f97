"""What a page fault takes here: the shortest way to an allocation, timed before and after tracking starts."""

from __future__ import annotations

import contextlib
import mmap
import time

_PAGES = 1024
_ROUNDS = 25


def page_fault_ns() -> float:
    """Nanoseconds that touching one fresh page takes, its return included: the least of many rounds.

    Whatever else runs on the machine only adds to a round.
    """
    return min(_seconds() for _ in range(_ROUNDS)) / _PAGES * 1e9


def _seconds() -> float:
    with mmap.mmap(-1, _PAGES * mmap.PAGESIZE) as memory:
        with contextlib.suppress(OSError):  # a kernel without huge pages
            memory.madvise(mmap.MADV_NOHUGEPAGE)
        started = time.perf_counter()
        for at in range(0, len(memory), mmap.PAGESIZE):
            memory[at] = 1
        memory.madvise(mmap.MADV_DONTNEED)
        return time.perf_counter() - started
