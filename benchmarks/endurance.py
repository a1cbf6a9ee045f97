"""Memory of a process that goes on: `top` over 1,000 readings of 4,000 stacks, a worker of `triage` over 2,000 cases.

Each reading has other numbers, each case is a real report with text of its own. What a process takes after a tenth of
it, and at the end, may differ by 5 MiB. `python -m benchmarks.endurance` prints the table of docs/reliability.md.
"""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from fuzz.kinds import kinds
from oomscope.host.facts import Machine
from oomscope.host.top import SHOW_STACKS, Watch
from oomscope.triage import steps
from oomscope.triage.processes import Processes
from oomscope.triage.worker import explained

_READINGS, _STACKS = 1_000, 4_000
_CASES = 2_000
_MOST_MIB = 5.0


def _rss_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def _top(folder: Path) -> Callable[[int], None]:
    path = folder / SHOW_STACKS.lstrip("/")
    path.parent.mkdir(parents=True)
    (folder / "proc").mkdir()
    (folder / "proc" / "meminfo").write_text("MemTotal: 8000004 kB\nMemFree: 100004 kB\n")
    watch = Watch(Machine(folder), source=SHOW_STACKS)

    def read(number: int) -> None:
        block = " f{0}+0x1/0x2 [m{1}]\n g{0}+0x2/0x9\n vfs_read+0x1/0x2\nnr_base_pages: {2}\n\n"
        path.write_text("".join(block.format(i, i % 7, i + number) for i in range(_STACKS)))
        watch.tick()
        watch.snapshot(group_by="culprit", sort="amount")

    return read


def _triage(folder: Path) -> Callable[[int], None]:
    logs = [text for text in kinds()["kernel log"] if b"invoked oom-killer" in text]
    for number in range(_CASES):
        (folder / f"{number:04}.log").write_bytes(logs[number % len(logs)] + b"\n[ 9.0] case %d\n" % number)
    with Processes(1) as engine:
        units = steps.find([str(folder)], grouping="file", engine=engine, by_content=False).units

    def explain(number: int) -> None:
        explained(units[number])

    return explain


def main() -> int:
    """Print the table; 1 where something grows."""
    gc.disable()  # as the command does
    failed = 0
    print("| process | after a tenth: MiB | at the end: MiB | growth |\n|---|---|---|---|")
    for name, make, count in (
        (f"`top`, {_READINGS:,} readings of {_STACKS:,} stacks", _top, _READINGS),
        (f"a worker of `triage`, {_CASES:,} cases", _triage, _CASES),
    ):
        with tempfile.TemporaryDirectory(prefix="oomscope-endurance-") as folder:
            work = make(Path(folder))
            early_mib = 0.0
            for number in range(count):
                work(number)
                if number == count // 10:
                    early_mib = _rss_mib()
            late_mib = _rss_mib()
        failed += abs(late_mib - early_mib) > _MOST_MIB
        print(f"| {name} | {early_mib:.1f} | {late_mib:.1f} | {late_mib - early_mib:+.1f} |", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
