"""`make bench`, kernel memory: whole arrays beside a loop page by page, and a synthetic machine of 64 GiB.

The loop is how drgn scripts walk page_owner: for each PFN its section, its page_ext entry, its struct page_owner. Both
do one job on one dump in one run, pages per handle, and their counts are held against each other.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import drgn
import numpy as np

from oomscope.attribution import timeline
from oomscope.attribution.census import CensusTally
from oomscope.attribution.selection import Selection
from oomscope.attribution.tally import Tally
from oomscope.model.batch import Batch
from oomscope.model.reading import Reading, Role
from oomscope.sources.vmcore.dump import Dump
from oomscope.sources.vmcore.opening import open_dump
from oomscope.sources.vmcore.page_owner import PageOwner
from oomscope.sources.vmcore.reader import Reader
from oomscope.sources.vmcore.sections import sections
from oomscope.verdict import Question, judge
from tests.support.mock_kernel import MockKernel, stack_of

ROOT = Path(__file__).parent.parent
DUMP = ROOT / "lab" / "out" / "6.12" / "kmalloc-panic" / "core"
# What the project promises: docs/performance.md.
LEAST_RATIO = 100
MOST_S, MOST_MIB = 10, 1024
SECTION_PAGES = 1 << 15
_MIB = 1 << 20


def page_by_page(dump: Dump) -> Counter[int]:
    """Pages per handle, one page after the other."""
    prog = dump.prog
    size, offset = int(prog["page_ext_size"]), int(prog["page_owner_ops"].offset)
    owner_type, section_type = prog.type("struct page_owner"), prog.type("struct mem_section")
    per_root = dump.page_size_bytes // drgn.sizeof(section_type)
    allocated = 1 << int(prog.constant("PAGE_EXT_OWNER_ALLOCATED"))
    pages: Counter[int] = Counter()
    for pfn in range(int(prog["max_pfn"])):
        number = pfn // SECTION_PAGES
        section = prog["mem_section"][number // per_root][number % per_root]
        entry = section.page_ext.value_() + size * pfn
        if prog.read_u64(entry) & allocated:
            owner = drgn.Object(prog, owner_type, address=entry + offset)
            handle = owner.handle.value_()
            if handle:
                pages[handle] += 1
    return pages


def whole_arrays(dump: Dump) -> Counter[int]:
    """The same from whole arrays."""
    owner = PageOwner(dump)
    pages: Counter[int] = Counter()
    for section in sections(dump):
        entries = owner.entries(section, ranking_only=True)
        if entries is not None and entries.handle_of_frame is not None:
            handles, counts = np.unique(entries.handle_of_frame, return_counts=True)
            pages.update(dict(zip(handles.tolist(), counts.tolist(), strict=True)))
    del pages[0]
    return pages


def synthetic(gib: int) -> dict[str, float]:
    """Seconds and memory of the whole verdict on a machine of so much RAM, and its pages."""
    kernel = MockKernel(section_pages=SECTION_PAGES, stacks=[stack_of(n % 60, n % 7, n % 3) for n in range(300)])
    entries = kernel.entries(SECTION_PAGES)
    chance = np.random.default_rng(2020)
    for frame, stack in enumerate(chance.integers(0, 300, SECTION_PAGES).tolist()):
        one = slice(frame, frame + 1)
        ts_ns, pid = 10**9 + frame * 10**6, int(chance.integers(1, 500))
        kernel.own(entries, one, handle=kernel.handle(stack), order=0, gfp_mask=0xCC0, ts_nsec=ts_ns, pid=pid, tgid=pid)
    kernel.sections = dict.fromkeys(range(gib * 8), entries)
    dump = kernel.dump()
    started = time.perf_counter()
    reader = Reader(dump, "synthetic")
    tally, census = Tally(Selection()), CensusTally()
    for batch in reader.batches():
        if isinstance(batch, Batch):
            tally.add(batch)
        else:
            census.add(batch)
    reading = Reading("synthetic", "kernel memory", Role.MEMORY, reader.notes, tally.counts(), census=census.census({}))
    verdict = judge(timeline.build((reading,)), Question(), Selection())
    took_s = time.perf_counter() - started
    assert verdict.counted_pages == gib * 8 * SECTION_PAGES
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"pages": gib * 8 * SECTION_PAGES, "seconds": took_s, "peak_mib": peak_mib}


def _in_a_process_of_its_own(gib: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.memory", "--synthetic", str(gib)]
    found: dict[str, float] = json.loads(subprocess.run(command, capture_output=True, check=True, cwd=ROOT).stdout)
    return found


def main() -> None:
    """Print the tables; exit code 1 where a promise is not kept."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dump", type=Path, default=DUMP, help="a core dump with page_owner [the lab's kmalloc-panic]")
    parser.add_argument("--synthetic", type=int, metavar="GIB", help="measure one synthetic machine only, as JSON")
    arguments = parser.parse_args()
    if arguments.synthetic is not None:
        print(json.dumps(synthetic(arguments.synthetic)))
        return
    failed = False
    if arguments.dump.exists():
        dump = open_dump(arguments.dump)
        pages = int(dump.prog["max_pfn"])
        times = []
        for _ in range(5):
            started = time.perf_counter()
            ours = whole_arrays(dump)
            times.append(time.perf_counter() - started)
        started = time.perf_counter()
        theirs = page_by_page(dump)
        loop_s, array_s = time.perf_counter() - started, statistics.median(times)
        ratio = loop_s / array_s
        failed |= ratio < LEAST_RATIO or ours != theirs
        print(f"{pages:,} pages of {arguments.dump.stat().st_size / _MIB:,.0f} MiB; counts equal: {ours == theirs}")
        print("| way | seconds | pages/s | times |\n|---|---|---|---|")
        print(f"| a drgn loop, page by page | {loop_s:.2f} | {pages / loop_s:,.0f} | 1 |")
        print(f"| whole arrays, median of 5 | {array_s:.3f} | {pages / array_s:,.0f} | {ratio:,.0f} |\n")
    else:
        print(f"{arguments.dump} is not there: `make lab` captures it, or name a dump with --dump\n")
    print("| synthetic RAM | page_ext entries | seconds | peak MiB |\n|---|---|---|---|")
    for gib in (16, 32, 64):
        found = _in_a_process_of_its_own(gib)
        print(f"| {gib} GiB | {int(found['pages']):,} | {found['seconds']:.2f} | {found['peak_mib']:.0f} |")
    failed |= found["seconds"] > MOST_S or found["peak_mib"] > MOST_MIB
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
