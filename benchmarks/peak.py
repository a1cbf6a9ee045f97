"""The most memory that a process and its children hold together."""

from __future__ import annotations

import re
import threading
from pathlib import Path


class Peak:
    """Samples the proportional set size of a process and all its children, 50 times a second, in KiB."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._peak_kib = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """The most that was seen."""
        self._stop.set()
        self._thread.join()
        return self._peak_kib

    def _sample(self) -> None:
        while not self._stop.wait(0.02):
            self._peak_kib = max(self._peak_kib, sum(map(_pss_kib, _with_children(self._pid))))


def _with_children(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return [pid]
    return [pid, *(each for child in children for each in _with_children(int(child)))]


def _pss_kib(pid: int) -> int:
    try:
        match = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(match[1]) if match else 0
