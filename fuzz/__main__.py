"""`python -m fuzz [--from N] [--count N]`: each number is a case, always the same one (fuzz/case.py).

Failed cases are told, and kept in fuzz/out by their number.
"""

from __future__ import annotations

import argparse
import collections
import multiprocessing
import os
import sys
import time
from pathlib import Path

from fuzz.case import try_cases

OUT = Path(__file__).parent / "out"
_BLOCK = 500


def main() -> int:
    """Try cases; 1 where one failed."""
    asked = argparse.ArgumentParser(prog="fuzz")
    asked.add_argument("--from", dest="first", type=int, default=0)
    asked.add_argument("--count", type=int, default=20_000)
    asked.add_argument("--workers", type=int, default=os.cpu_count())
    words = asked.parse_args()
    stop = words.first + words.count
    blocks = [range(n, min(n + _BLOCK, stop)) for n in range(words.first, stop, _BLOCK)]
    tried: collections.Counter[str] = collections.Counter()
    slowest: dict[str, float] = {}
    failed = 0
    started = time.monotonic()
    OUT.mkdir(exist_ok=True)
    with multiprocessing.get_context("forkserver").Pool(words.workers, maxtasksperchild=4) as pool:
        for done in pool.imap_unordered(try_cases, blocks):
            for number, kind, problem, took_s in done:
                kind = kind.partition(",")[0]
                tried[kind] += 1
                slowest[kind] = max(slowest.get(kind, 0.0), took_s)
                if problem is not None:
                    failed += 1
                    (OUT / f"{number}.txt").write_text(f"{kind}\n{problem}\n")
                    last = problem.strip().splitlines()[-1]
                    print(f"{number}: {kind}: {last[:200]}", flush=True)
            if sum(tried.values()) % 20_000 < _BLOCK:
                print(
                    f"{sum(tried.values()):,} tried, {failed} failed, {time.monotonic() - started:,.0f} s", flush=True
                )
    for kind, count in sorted(tried.items()):
        print(f"| {kind} | {count:,} | {slowest[kind]:.2f} |")
    print(f"| all | {sum(tried.values()):,} | {max(slowest.values()):.2f} |")
    print(f"{failed} failed of {sum(tried.values()):,}, from {words.first}, in {time.monotonic() - started:,.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
