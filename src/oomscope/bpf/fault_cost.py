"""What a page fault takes here: the shortest way to an allocation, timed before and after tracking starts."""

from __future__ import annotations

import mmap
import statistics
import time

_PAGES = 1024
_ROUNDS = 9


def page_fault_ns() -> float:
    """Nanoseconds that touching one fresh page takes, its return included: the median of several rounds."""
    _seconds()  # the first one finds the caches cold
    return statistics.median(_seconds() for _ in range(_ROUNDS)) / _PAGES * 1e9


def _seconds() -> float:
    with mmap.mmap(-1, _PAGES * mmap.PAGESIZE) as memory:
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        started = time.perf_counter()
        for at in range(0, len(memory), mmap.PAGESIZE):
            memory[at] = 1
        memory.madvise(mmap.MADV_DONTNEED)
        return time.perf_counter() - started
