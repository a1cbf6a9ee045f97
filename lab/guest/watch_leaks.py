"""`oomscope watch --leaks` beside a module that leaks and a program that takes and gives back; /mnt is the case."""

from __future__ import annotations

import json
import mmap
import subprocess
import threading
import time
from pathlib import Path

CASE = Path("/mnt")
LEAK, CHURN = 50, 2000  # pages a second
_MOST_S = 600.0


def leak(over: threading.Event) -> None:
    """Fifty pages a second, for ever."""
    while not over.wait(1.0):
        Path("/proc/oomlab/page").write_text(str(LEAK))


def churn(over: threading.Event) -> None:
    """Two thousand pages are taken and given back."""
    while not over.wait(0.5):
        with mmap.mmap(-1, CHURN * mmap.PAGESIZE) as memory:
            for at in range(0, len(memory), mmap.PAGESIZE):
                memory[at] = 1


def main() -> None:
    """Until growth is told, and then a while, for what else may be told."""
    over = threading.Event()
    threads = [threading.Thread(target=work, args=(over,)) for work in (leak, churn)]
    for thread in threads:
        thread.start()
    command = ["oomscope", "watch", "--format", "json", "--leaks", "--every", "5s", "--history", "/mnt/history.sqlite"]
    out = CASE / "watch.jsonl"
    with out.open("wb") as told, (CASE / "watch.log").open("wb") as log:
        watching = subprocess.Popen(command, stdout=told, stderr=log)
    until = time.monotonic() + _MOST_S
    while time.monotonic() < until and not any(json.loads(line)["kind"] == "growth" for line in out.open()):
        time.sleep(1)
    time.sleep(30)
    watching.terminate()
    watching.wait(60)
    over.set()
    for thread in threads:
        thread.join()
    for name, more in (("txt", []), ("json", ["--format", "json"])):
        done = subprocess.run(["oomscope", "history", "--history", "/mnt/history.sqlite", *more], capture_output=True)
        (CASE / f"history.{name}").write_bytes(done.stdout)


if __name__ == "__main__":
    main()
