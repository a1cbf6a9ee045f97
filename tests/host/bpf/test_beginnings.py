"""Where kept stacks begin: the questions over files in a folder. What kernels really keep is tested in the lab."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from oomscope.host.bpf.beginnings import COMPACT, beginnings, provoke_allocations
from oomscope.host.facts import Machine
from oomscope.model.stack import parse_frame
from oomscope.sources.tracker import layout
from oomscope.sources.tracker.layout import COUNTERS, PageOwners, stack_dtype
from oomscope.sources.tracker.table import OwnerRows
from tests.host.bpf.test_arm import machine

# As a 6.16 kernel shows them, where every stack began in the program itself.
KALLSYMS = """\
ffffffff81000000 T _stext
ffffffff81000100 T bpf_trace_run4
ffffffff81000200 T __traceiter_mm_page_alloc
ffffffff81000300 T __alloc_frozen_pages_noprof
ffffffff81000400 T alloc_pages_noprof
ffffffff81000500 T anon_pipe_write
ffffffff81000600 T _etext
ffffffffc0000000 t leak\t[leak]
ffffffffc0000100 t leak_end\t[leak]
ffffffffc0200000 t bpf_prog_6deef7357e7b4530_on_alloc\t[bpf]
ffffffffc0200100 t bpf_trampoline_6442\t[bpf]
ffffffffc0200200 t bpf_prog_0000000000000000_other\t[bpf]
"""
MODULES = "leak 4096 0 - Live 0xffffffffc0000000 (O)\n"
PROGRAM, TRAMPOLINE, EVENT = 0xFFFFFFFFC0200010, 0xFFFFFFFFC0200110, 0xFFFFFFFF81000210
ALLOCATOR, CALLER, MODULE, NOTHING = 0xFFFFFFFF81000310, 0xFFFFFFFF81000410, 0xFFFFFFFFC0000010, 0xFFFFFFFFC1000000


def table(*stacks: tuple[int, ...]) -> PageOwners:
    """A table that keeps these stacks, a page for each."""
    records = np.zeros(16, stack_dtype())
    block = np.zeros(layout.BLOCK_PAGES, np.uint32)
    for slot, frames in enumerate(stacks, layout.FIRST_SLOT):
        records[slot]["frames"] = len(frames)
        records[slot]["frame"][: len(frames)] = frames
        block[slot] = slot << 16 | 1
    counted = layout.OwnerCounters(**dict.fromkeys(COUNTERS, 0))
    return PageOwners(
        0, 10**9, 10**9, records, np.array([1], np.uint64), lambda _: block, counted, np.zeros((1, 16), np.int64)
    )


@pytest.mark.parametrize("first", [ALLOCATOR, CALLER, MODULE])
def test_the_allocator_its_caller_and_modules_are_beginnings(tmp_path: Path, first: int) -> None:
    """A function that jumped to a trampoline has left no frame: its caller, also a module, begins the stack."""
    this = machine(tmp_path, proc__kallsyms=KALLSYMS, proc__modules=MODULES)
    found = beginnings(this, table((first, CALLER), (ALLOCATOR,)))
    assert (found.stacks, found.in_tracing, found.told()) == (2, 0, None)


@pytest.mark.parametrize(
    ("first", "example"),
    [
        (PROGRAM, "bpf_prog_6deef7357e7b4530_on_alloc+0x10/0x100 [bpf]"),
        (TRAMPOLINE, "bpf_trampoline_6442+0x10/0x100 [bpf]"),
        (EVENT, "__traceiter_mm_page_alloc+0x10/0x100"),
        (NOTHING, "0xffffffffc1000000"),
    ],
)
def test_tracing_is_no_beginning(tmp_path: Path, first: int, example: str) -> None:
    """Programs, trampolines, what calls them, and code that kallsyms does not show: counted, and one is named."""
    this = machine(tmp_path, proc__kallsyms=KALLSYMS, proc__modules=MODULES)
    found = beginnings(this, table((first, ALLOCATOR), (ALLOCATOR, CALLER), (first, CALLER)))
    assert (found.stacks, found.in_tracing, found.example) == (3, 2, example)
    assert found.told() == f"2 of 3 kept stacks begin in the tracing itself, or in no code, at {example}"


def test_code_below_the_first_module_is_no_function_of_the_kernel(tmp_path: Path) -> None:
    """Where kallsyms does not show programs, the symbol before them is the kernel's last: they are no part of that."""
    hidden = "".join(line for line in KALLSYMS.splitlines(keepends=True) if "[bpf]" not in line)
    this = machine(tmp_path, proc__kallsyms=hidden, proc__modules=MODULES)
    found = beginnings(this, table((0xFFFFFFFFBFFF0010, ALLOCATOR), (ALLOCATOR,)))
    assert found.in_tracing == 1


def test_who_reads_such_a_table_is_told(tmp_path: Path) -> None:
    """The culprit is right, for tracing never answers; the outermost callers have no room, and that is said."""
    this = machine(tmp_path, proc__kallsyms=KALLSYMS, proc__modules=MODULES)
    rows = OwnerRows(table((PROGRAM, ALLOCATOR), (ALLOCATOR,)), lambda each: map(parse_frame, this.frames(each)))
    list(rows.batches())
    (told,) = [each for each in rows.notes.absent if "outermost callers" in each.what]
    assert told.what == "the outermost callers of 1 of 2 tracked stacks"


@pytest.mark.parametrize(("gib", "compacted"), [(1, "1\n"), (512, "")])
def test_compaction_is_asked_for_where_it_takes_no_time(tmp_path: Path, gib: int, compacted: str) -> None:
    """Of all memory of a small machine; not of half a terabyte."""
    (tmp_path / "proc/sys/vm").mkdir(parents=True)
    (tmp_path / COMPACT.lstrip("/")).touch()
    (tmp_path / "proc/meminfo").write_text(f"MemTotal: {gib << 20} kB\n")
    provoke_allocations(Machine(tmp_path))
    assert (tmp_path / COMPACT.lstrip("/")).read_text() == compacted


def test_the_provoked_allocations_leave_nothing_behind(tmp_path: Path) -> None:
    """Pages, a pipe, a file of tmpfs, threads: all are given back, the file descriptors too."""
    before = sorted(path.name for path in Path("/proc/self/fd").iterdir())
    provoke_allocations(Machine(tmp_path))
    assert sorted(path.name for path in Path("/proc/self/fd").iterdir()) == before
