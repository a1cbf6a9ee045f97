"""How many pages the program looks at: all of them, or where that would take too long, one of each stride."""

from __future__ import annotations

import os

from oomscope.errors import NotOffered
from oomscope.host.bpf import tracker
from oomscope.host.bpf.libbpf import LibBpf, Object, Refused
from oomscope.host.bpf.requirements import DUMP_HEADER, PANIC, object_path
from oomscope.host.facts import Machine

TRY_WALK, _TRIED_PAGES = "try_walk", 4096  # the program, and for how many pages it tells the time
_COLDER = 3  # times as long a walk may take when the machine dies, by the lab's panics
_APART = 8  # times as long as in a walk over neighbours a page alone may take


def set_up(program_object: Object, options: bytes, program: str) -> None:
    """Leave out the program for the other place, and give all of them their constants."""
    for other, _ in (DUMP_HEADER, PANIC):
        if other != program:
            program_object.leave_out(other)
    program_object.set_constants(".rodata.options", options)


def ram_pages(machine: Machine) -> int | None:
    """Of this machine; None where it does not tell."""
    return None if machine.ram_bytes is None else machine.ram_bytes // os.sysconf("SC_PAGE_SIZE")


def walk_ns(machine: Machine, options: bytes, program: str) -> float:
    """How long the walk takes for a page on this machine while it is at rest, tried on its first sections.

    Raises NotOffered where the kernel does not take the program that tries it.
    """
    try:
        with LibBpf().open(object_path(machine)) as program_object:
            for each in (*tracker.PROGRAMS, program):
                program_object.leave_out(each)
            set_up(program_object, options, program)
            program_object.load()
            return program_object.run(TRY_WALK) / _TRIED_PAGES
    except Refused as error:
        raise NotOffered(f"the kernel does not take the program: {error}") from error


def stride_for(walk_ns: float, pages: int | None, limit_s: float) -> int:
    """One page of how many has to be looked at: 1 where all take less than the limit, or RAM is not told.

    The walk stops at the limit all the same, and says so.
    """
    if pages is None:
        return 1
    expected_s = walk_ns * pages * _COLDER / 1e9
    if expected_s <= limit_s:
        return 1
    strides = (1 << bits for bits in range(3, 9))
    return next((stride for stride in strides if expected_s * _APART / stride <= limit_s), 1 << 8)
