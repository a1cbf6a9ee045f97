"""The fourth part of `make bench`: `oomscope triage` over ten thousand console logs of about 60 kB, all different.

Each is grown from a real report of the corpus between quiet lines of a real log, with process ids and addresses of its
own, drawn by chance (seed 2020). Nothing is cached between runs; a tenth of the logs tells whether the cost of a case
grows with their number.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import zstandard

from benchmarks.peak import Peak
from oomscope.sources.kernel_log.prefilter import TRIGGERS

ROOT = Path(__file__).parent.parent
OUT = Path(__file__).parent / "out"
OOMSCOPE = Path(sys.executable).parent / "oomscope"
CORPUS = ROOT / "tests" / "data" / "corpus"
QUIET = CORPUS / "full" / "dell-xps-messages-full.log.zst"
LOG_BYTES = 60_000
LARGEST_REPORT_BYTES = 50_000
MOST_GROWTH = 1.25  # of a case's cost from a tenth of the logs to all: docs/performance.md
MOST_MEMORY_MIB = 600
_NUMBER = re.compile(rb"(?<=\bPID: )\d+|(?<=\bpid=)\d+|(?<=[Pp]rocess )\d+|\b[0-9a-f]{16}\b")


def _text(path: Path) -> bytes:
    return zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read()


def grow(folder: Path, count: int) -> None:
    """Write so many logs, each in a folder of a host."""
    lines = [line + b"\n" for line in _text(QUIET).split(b"\n") if not any(word in line for word in TRIGGERS)]
    reports = [text for path in sorted(CORPUS.glob("*.log.zst")) if len(text := _text(path)) <= LARGEST_REPORT_BYTES]
    chance = random.Random(2020)

    def other(match: re.Match[bytes]) -> bytes:
        return (
            b"%0*x" % (len(match[0]), chance.getrandbits(60))
            if len(match[0]) == 16
            else b"%d" % chance.randint(2, 32768)
        )

    for number in range(count):
        report = _NUMBER.sub(other, chance.choice(reports))
        wanted = LOG_BYTES - len(report)
        before: list[bytes] = []
        after: list[bytes] = []
        while wanted > 0:
            line = chance.choice(lines)
            (before if chance.random() < 0.8 else after).append(line)
            wanted -= len(line)
        path = folder / f"host-{number % 250:03}" / f"console-{number:05}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(before) + report + b"\n" + b"".join(after))


def _triage(folder: Path, answer: Path) -> subprocess.Popen[bytes]:
    command = [str(OOMSCOPE), "triage", str(folder), "--no-cache", "--format", "json", "-o", str(answer)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _timed(folder: Path, answer: Path) -> float:
    started = time.perf_counter()
    process = _triage(folder, answer)
    if process.wait():
        raise SystemExit(f"oomscope triage {folder}: exit code {process.returncode}")
    return time.perf_counter() - started


def main() -> None:
    """Measure, print the table, and exit with 1 where a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    folders = {}
    for count in (arguments.cases // 10, arguments.cases):
        folders[count] = OUT / f"fleet-{count}"
        if not folders[count].exists():
            unfinished = OUT / "fleet-new"
            grow(unfinished, count)
            unfinished.rename(folders[count])
    answer = OUT / "fleet.json"
    taken: dict[int, list[float]] = {count: [] for count in folders}
    for _ in range(arguments.runs):
        for count, folder in folders.items():
            taken[count].append(_timed(folder, answer))
    process = _triage(folders[arguments.cases], answer)
    peak = Peak(process.pid)
    process.wait()
    peak_mib = peak.stop() / 1024
    told = json.loads(answer.read_text())
    print(f"\n{arguments.cases:,} logs of {LOG_BYTES:,} bytes, cache off, {arguments.runs} runs in turn\n")
    print("| logs | wall s, median (min-max) | logs/s | MB/s | ms per log |\n|---|---|---|---|---|")
    cost = {}
    for count, seconds in taken.items():
        median = statistics.median(seconds)
        cost[count] = median / count * 1000
        spread = f"{median:.1f} ({min(seconds):.1f}-{max(seconds):.1f})"
        speed = f"{count / median:,.0f} | {count * LOG_BYTES / median / 1e6:.1f}"
        print(f"| {count:,} | {spread} | {speed} | {cost[count]:.2f} |")
    few, many = cost.values()
    print(f"\n{told['counts']['cases']:,} OOMs in them, {len(told['clusters']):,} clusters; {told['answer']}")
    print(f"Peak memory of all processes: {peak_mib:,.0f} MiB.")
    print(f"Among ten times as many a log costs {many / few:.2f} times as much.")
    if many / few > MOST_GROWTH or peak_mib > MOST_MEMORY_MIB:
        raise SystemExit("broken promise: the cost of a case grows with their number, or memory does")


if __name__ == "__main__":
    main()
