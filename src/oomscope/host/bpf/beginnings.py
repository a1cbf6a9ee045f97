"""Whether tracking records right: the stacks it keeps begin in the page allocator or its caller, never in tracing."""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
from dataclasses import dataclass

import numpy as np

from oomscope.host.facts import Machine
from oomscope.sources.tracker.layout import PageOwners
from oomscope.sources.tracker.tracing_frames import is_tracing

_PAGES, _TMPFS_PAGES, _THREADS = 257, 61, 24
COMPACT = "/proc/sys/vm/compact_memory"
_COMPACTED_BYTES = 8 << 30
_PIPE_BYTES = 16 * mmap.PAGESIZE


@dataclass(frozen=True, slots=True)
class Beginnings:
    """The kept stacks by their first frame: of `stacks`, `in_tracing` do not begin in what asked for the pages.

    `example` is such a first frame, as the kernel prints it.
    """

    stacks: int
    in_tracing: int
    example: str | None

    def told(self) -> str | None:
        """What is wrong, one clause; None where nothing is."""
        if not self.in_tracing:
            return None
        where = f"begin in the tracing itself, or in no code, at {self.example}"
        return f"{self.in_tracing:,} of {self.stacks:,} kept stacks {where}"


def beginnings(machine: Machine, table: PageOwners) -> Beginnings:
    """Look at every kept stack's first frame, by the symbols of now: those of BPF code come and go."""
    machine = Machine(machine.root)
    whole = table.stacks[table.stacks["frames"] > 0]
    addresses, counts = np.unique(whole["frame"][:, 0], return_counts=True)
    frames = machine.frames(addresses.tolist())
    wrong = [
        (frame, int(count))
        for address, frame, count in zip(addresses.tolist(), frames, counts, strict=True)
        if is_tracing(frame) or not machine.is_code(address)
    ]
    return Beginnings(len(whole), sum(count for _, count in wrong), wrong[0][0] if wrong else None)


def provoke_allocations(machine: Machine) -> None:
    """Have the kernel give out pages by the ways that programs are put on: single ones, tmpfs, pipes, and in bulk.

    Stacks of threads are pages in bulk: kernel/fork.c alloc_thread_stack_node() takes them by vmalloc. Compaction moves
    pages to others (mm/compaction.c compaction_alloc()); on a large machine all of it would take too long.
    """
    if machine.ram_bytes is not None and machine.ram_bytes <= _COMPACTED_BYTES:
        with contextlib.suppress(OSError):  # a kernel without CONFIG_COMPACTION
            machine.path(COMPACT).write_text("1\n")
    with mmap.mmap(-1, _PAGES * mmap.PAGESIZE) as memory:
        for page in range(_PAGES):
            memory[page * mmap.PAGESIZE] = 1
        ends = os.pipe()
        file = os.memfd_create("oomscope")
        try:
            os.set_blocking(ends[1], False)
            os.write(ends[1], bytes(_PIPE_BYTES))
            os.write(file, bytes(_TMPFS_PAGES * mmap.PAGESIZE))
            _start_threads()
        finally:
            for each in (*ends, file):
                os.close(each)


def _start_threads() -> None:
    """So many at once that the kernel's few cached stacks do not do."""
    done = threading.Event()
    threads = [threading.Thread(target=done.wait) for _ in range(_THREADS)]
    for thread in threads:
        thread.start()
    done.set()
    for thread in threads:
        thread.join()
