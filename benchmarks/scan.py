"""The third part of `make bench`: a log without any OOM, beside `LC_ALL=C grep -c -F` with the same words.

The log is grown from the lines of a complete log of the corpus that hold no such word, drawn by chance (seed 2020).
Both commands read the same file in turn, from the page cache.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import time
import zlib
from pathlib import Path

import zstandard

from oomscope.sources.kernel_log.prefilter import TRIGGERS

ROOT = Path(__file__).parent.parent
OUT = Path(__file__).parent / "out"
OOMSCOPE = Path(sys.executable).parent / "oomscope"
LOG = ROOT / "tests" / "data" / "corpus" / "full" / "dell-xps-messages-full.log.zst"
LEAST_RATIO = 0.5  # of grep's speed: docs/performance.md


def quiet_log(path: Path, size_bytes: int) -> None:
    """Write a log of that size in which no trigger stands."""
    text = zstandard.ZstdDecompressor().stream_reader(LOG.read_bytes()).read()
    lines = [line + b"\n" for line in text.split(b"\n") if not any(word in line for word in TRIGGERS)]
    chance = random.Random(2020)
    with path.open("wb") as file:
        while file.tell() < size_bytes:
            file.write(b"".join(chance.choices(lines, k=20_000)))


def _seconds(command: list[str], expected: int) -> float:
    started = time.perf_counter()
    process = subprocess.run(command, env={**os.environ, "LC_ALL": "C"}, capture_output=True, check=False)
    elapsed = time.perf_counter() - started
    if process.returncode != expected:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}: {process.stderr.decode()}")
    return elapsed


def main() -> None:
    """Measure, print the table, and exit with 1 where the promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024, help="size of the log")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    words = OUT / "triggers"
    log = OUT / f"quiet-{zlib.crc32(b'/'.join(TRIGGERS)):08x}.log"
    if not log.exists() or log.stat().st_size < arguments.mib << 20:
        quiet_log(log, arguments.mib << 20)
    words.write_bytes(b"".join(word + b"\n" for word in TRIGGERS))
    commands = {
        "grep -c -F": (["grep", "-c", "-F", "-f", str(words), str(log)], 1),
        "oomscope explain": ([str(OOMSCOPE), "explain", str(log)], 1),
    }
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(arguments.runs):
        for name, (command, expected) in commands.items():
            taken[name].append(_seconds(command, expected))
    medians = {name: statistics.median(seconds) for name, seconds in taken.items()}
    size = log.stat().st_size
    print(f"\nA log of {size:,} bytes without any OOM, {arguments.runs} runs each, in turn\n")
    print("| command | wall s, median (min-max) | MB/s | times grep's speed |\n|---|---|---|---|")
    for name, seconds in taken.items():
        ratio = medians["grep -c -F"] / medians[name]
        spread = f"{medians[name]:.2f} ({min(seconds):.2f}-{max(seconds):.2f})"
        print(f"| {name} | {spread} | {size / medians[name] / 1e6:,.0f} | {ratio:.2f} |")
    if medians["grep -c -F"] / medians["oomscope explain"] < LEAST_RATIO:
        raise SystemExit(f"broken promise: less than {LEAST_RATIO} times grep's speed")


if __name__ == "__main__":
    main()
