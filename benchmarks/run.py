"""`make bench`: speed and memory of `oomscope explain` beside page_owner_sort, on one dump in one run.

The commands take turns, so that what else the machine does falls on all of them; medians and their ratios are printed,
and the counts are held against each other: pages per stack equal the peer's once its groups are merged by their frames.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.grow import grow
from benchmarks.peak import Peak
from benchmarks.peer import build

ROOT = Path(__file__).parent.parent
OUT = Path(__file__).parent / "out"
OOMSCOPE = Path(sys.executable).parent / "oomscope"
CAPTURE = ROOT / "tests" / "data" / "linux-6.12-kmalloc-panic" / "after" / "page_owner.zst"
# What the project promises: docs/performance.md.
LEAST_RATIO = {"oomscope, every field": 8.0, "oomscope, ranking only": 12.0}
MOST_MEMORY_MIB = 200
MOST_START_MS = 200


@dataclass
class Measured:
    """One command's runs: wall seconds each, and the most memory that its processes held together."""

    command: list[str]
    wall_s: list[float] = field(default_factory=list)
    peak_mib: list[float] = field(default_factory=list)

    def time(self) -> None:
        """One more run against the clock."""
        started = time.perf_counter()
        process = self._start()
        self._ended(process)
        self.wall_s.append(time.perf_counter() - started)

    def weigh(self) -> None:
        """One more run for its memory: looking takes time of its own, so this one is not timed."""
        process = self._start()
        peak = Peak(process.pid)
        self._ended(process)
        self.peak_mib.append(peak.stop() / 1024)

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _ended(self, process: subprocess.Popen[bytes]) -> None:
        if process.wait():
            raise SystemExit(f"{' '.join(self.command)}: exit code {process.returncode}")

    @property
    def median_s(self) -> float:
        """Median wall time in seconds."""
        return statistics.median(self.wall_s)


def peer_pages_per_stack(output: Path) -> Counter[tuple[str, ...]]:
    """Pages per stack of the peer's output, its groups merged by their frame lines."""
    pages: Counter[tuple[str, ...]] = Counter()
    count = 0
    frames: list[str] = []
    with output.open() as file:
        for line in file:
            if match := re.match(r"\d+ times, (\d+) pages", line):
                count, frames = int(match[1]), []
            elif line.startswith(" "):
                frames.append(line[1:].rstrip("\n"))
            elif not line.strip() and frames:
                pages[tuple(frames)] += count
                frames = []
    return pages


def our_pages_per_stack(dump: Path) -> Counter[tuple[str, ...]]:
    """Pages per stack of our JSON."""
    done = subprocess.run([OOMSCOPE, "explain", dump, "--format", "json"], capture_output=True, check=True)
    report = json.loads(done.stdout)
    return Counter({tuple(c["stack"]): c["pages"] for c in [*report["consumers"], *report["excepted"]]})


def start_up_ms(argument: str, runs: int) -> float:
    """Median milliseconds of a command that only starts."""
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        subprocess.run([OOMSCOPE, argument], stdout=subprocess.DEVNULL, check=True)
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)


def main() -> None:
    """Grow the dump, run the commands in turn, print the table; exit code 1 where a promise is not kept."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mib", type=int, default=512, help="size of the dump")
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each command, after one that is not")
    arguments = parser.parse_args()
    OUT.mkdir(exist_ok=True)
    peer = build(OUT / "peer")
    dump, larger = OUT / f"page_owner-{arguments.mib}", OUT / f"page_owner-{2 * arguments.mib}"
    for path, mib in ((dump, arguments.mib), (larger, 2 * arguments.mib)):
        if not path.exists():
            grow(CAPTURE, path, mib << 20)
    explain = [str(OOMSCOPE), "explain", str(dump)]
    measured = {
        "page_owner_sort --cull=st": Measured([str(peer), "--cull=st", str(dump), str(OUT / "peer.txt")]),
        "oomscope, every field": Measured([*explain, "--format", "json"]),
        "oomscope, for people": Measured(explain),
        "oomscope, ranking only": Measured([*explain, "--format", "kernel"]),
    }
    for each in measured.values():
        each.weigh()
    for _ in range(arguments.runs):
        for each in measured.values():
            each.time()
    twice = Measured([str(OOMSCOPE), "explain", str(larger), "--format", "json"])
    twice.weigh()
    twice.time()
    ours, theirs = our_pages_per_stack(dump), peer_pages_per_stack(OUT / "peer.txt")
    starts = {argument: start_up_ms(argument, 11) for argument in ("--help", "--version")}
    kept = _report(dump, measured, twice, starts, arguments.runs)
    kept.append(
        (f"pages per stack equal the peer's ({len(ours):,} stacks, {sum(ours.values()):,} pages)", ours == theirs)
    )
    for promise, holds in kept:
        print(f"{'kept  ' if holds else 'BROKEN'} {promise}")
    sys.exit(not all(holds for _, holds in kept))


def _report(
    dump: Path, measured: dict[str, Measured], twice: Measured, starts: dict[str, float], runs: int
) -> list[tuple[str, bool]]:
    peer = measured["page_owner_sort --cull=st"]
    size = dump.stat().st_size
    cpus = len(os.sched_getaffinity(0))
    print(f"{dump.name}: {size:,} bytes, {runs} runs each in turn, {cpus} CPUs\n")
    print("| command | wall s, median (min-max) | MB/s | times the peer's speed | peak memory, MiB |")
    print("|---|---|---|---|---|")
    ratio: Callable[[Measured], float] = lambda m: statistics.median(  # noqa: E731 - said once, used twice
        p / o for p, o in zip(peer.wall_s, m.wall_s, strict=True)
    )
    for name, m in measured.items():
        spread = f"{m.median_s:.2f} ({min(m.wall_s):.2f}-{max(m.wall_s):.2f})"
        print(f"| {name} | {spread} | {size / m.median_s / 1e6:.0f} | {ratio(m):.1f} | {max(m.peak_mib):.0f} |")
    print(f"\ntwice the size, every field: peak memory {max(twice.peak_mib):.0f} MiB, {twice.median_s:.2f} s")
    for argument, median_ms in starts.items():
        print(f"oomscope {argument}: {median_ms:.0f} ms")
    print()
    kept = [
        (f"{name}: at least {least:g} times the peer", ratio(measured[name]) >= least)
        for name, least in LEAST_RATIO.items()
    ]
    peak = max(*twice.peak_mib, *(p for n, m in measured.items() if n.startswith("oomscope") for p in m.peak_mib))
    kept.append((f"peak memory of all processes under {MOST_MEMORY_MIB} MiB at both sizes", peak < MOST_MEMORY_MIB))
    kept.append((f"--help and --version under {MOST_START_MS} ms", max(starts.values()) < MOST_START_MS))
    return kept


if __name__ == "__main__":
    main()
