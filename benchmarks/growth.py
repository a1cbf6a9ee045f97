"""How the time to an answer grows with an input of each kind: four times the text in at most 5.2 times the time.

User and system time of all processes of `oomscope explain`, what it takes to start taken off; the smaller input is large
enough for a second, the least of three runs counts. `python -m benchmarks.growth [KIND...]` prints the table of
docs/reliability.md.
"""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from fuzz.kinds import kinds
from fuzz.packed import tar_of, zip_of

_RUNS = 3
_TIMES = 4
_LEAST_S = 1.0
_MOST_BYTES = 50_000_000  # where no more than a bounded part of the input is read
_MOST_GROWTH = 5.2
_HEADER = b"[    1.000000] a invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\n"
_TASKS = b"[    1.0] [  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name\n"


def _reports(n: int) -> bytes:
    """Real reports, one after the other, each at a time of its own."""
    logs = [text for text in kinds()["kernel log"] if b"invoked oom-killer" in text]
    return b"".join(logs[i % len(logs)].replace(b"[", b"[%d" % (i % 9), 1) for i in range(n))


def _page_owner(n: int) -> bytes:
    record = (
        b"Page allocated via order 0, mask 0xcc0(GFP_KERNEL), pid %d, tgid %d (task%d), ts %d ns\n"
        b"PFN 0x%x type Unmovable Block 0 type Unmovable Flags 0x0(node=0|zone=1)\n"
        b" take_%d+0x1/0x20 [oomlab]\n write_way+0x4e/0xa0 [oomlab]\n vfs_write+0xe2/0x450\n\n"
    )
    return b"".join(record % (i % 999, i % 999, i % 99, 10**9 + i, i, i % 5000) for i in range(n))


_MAKERS: dict[str, tuple[Callable[[int], bytes], int]] = {
    "kernel log: real reports": (_reports, 250),
    "kernel log: many events": (lambda n: b"a invoked oom-killer: gfp_mask=0x0, order=0\nMem-Info:\nNode 0 DMA free:5kB min:3kB\n" * n, 18_000),
    "kernel log: one task table": (lambda n: _HEADER + _TASKS + b"".join(b"[    1.0] [%7d] 0 1 1 1 1 0 0 a\n" % i for i in range(n)), 45_000),
    "kernel log: victims": (lambda n: _HEADER + b"".join(b"[    1.0] Out of memory: Killed process %d (a) total-vm:1kB, anon-rss:1kB\n" % i for i in range(n)), 25_000),
    "kernel log: zones": (lambda n: _HEADER + b"".join(b"[    1.0] Node %d Normal free:1kB min:1kB\n" % i for i in range(n)), 45_000),
    "kernel log: callers": (lambda n: b"".join(b"[   99.000000][T%d] Node 0 DMA free:5kB min:3kB\n" % i for i in range(n)), 22_000),
    "kernel log: short lines": (lambda n: (_HEADER + b"xabc\n" * 600) * n, 200),
    "kernel log: long lines": (lambda n: (_HEADER + b"[    1.0] Node 0 DMA free:1kB " + b"a" * 16_000 + b"\n") * n, 900),
    "page_owner": (_page_owner, 700_000),
    "show_stacks": (lambda n: b"".join(b" f%d+0x1/0x2\n g+0x1/0x2\nnr_base_pages: %d\n\n" % (i, i % 7 + 1) for i in range(n)), 28_000),
    "slabinfo": (lambda n: b"slabinfo - version: 2.1\n" + b"".join(b"c%d 1 2 64 64 1 : tunables 0 0 0 : slabdata 7 7 0 \n" % i for i in range(n)), 150_000),
    "allocinfo": (lambda n: b"".join(b"%12d %8d a/b.c:%d func:f%d\n" % (i + 1, 1, i, i) for i in range(n)), 110_000),
    "vmallocinfo": (lambda n: b"".join(b"0x%016x-0x%016x    8192 f%d+0x1/0x2 pages=1 vmalloc\n" % (i, i + 1, i) for i in range(n)), 130_000),
    "buddyinfo": (lambda n: b"".join(b"Node %d, zone   Normal " % i + b"     1 " * 11 + b"\n" for i in range(n)), 200_000),
    "kmemleak": (lambda n: b"".join(b"unreferenced object 0xffff888100000000 (size 64):\n  backtrace:\n    f%d+0x1/0x2\n" % i for i in range(n)), 70_000),
    "tar of logs": (lambda n: tar_of({f"{i}": kinds()["kernel log"][i % 40] for i in range(n)}), 230),
    "zip of logs": (lambda n: zip_of({f"{i}": kinds()["kernel log"][i % 40] for i in range(n)}), 230),
    "gzip of reports": (lambda n: gzip.compress(_reports(n)), 250),
}  # fmt: skip


def _cpu_s(path: Path) -> float:
    """User and system time of the command and of all it starts."""
    command = [sys.executable, "-m", "oomscope", "explain", str(path)]
    before = os.times()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    after = os.times()
    return (after.children_user - before.children_user) + (after.children_system - before.children_system)


def main() -> int:
    """Print the table; 1 where something grows too fast."""
    wanted = sys.argv[1:] or list(_MAKERS)
    failed = 0
    print("| input | MB | s | 4 times it: s | growth |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="oomscope-growth-") as folder:
        empty = Path(folder, "nothing")
        empty.write_bytes(b"[    1.0] nothing\n")
        start_s = min(_cpu_s(empty) for _ in range(_RUNS))
        for name in wanted:
            make, size = _MAKERS[name]
            path = Path(folder, "input")
            while True:
                path.write_bytes(make(size))
                small_s = min(_cpu_s(path) for _ in range(_RUNS)) - start_s
                if small_s >= _LEAST_S or len(make(size)) > _MOST_BYTES:
                    break
                size = int(size * max(_LEAST_S / max(small_s, 0.1) * 1.1, 1.2))
            mb = path.stat().st_size / 1e6
            path.write_bytes(make(_TIMES * size))
            large_s = min(_cpu_s(path) for _ in range(_RUNS)) - start_s
            growth = large_s / small_s
            failed += growth > _MOST_GROWTH
            print(f"| {name} | {mb:.1f} | {small_s:.2f} | {large_s:.2f} | {growth:.2f} |", flush=True)
    print(f"start-up: {start_s:.2f} s; {time.strftime('%Y-%m-%d')}; {failed} above {_MOST_GROWTH}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
