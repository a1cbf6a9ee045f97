"""The watch's end of the judging process: started when there is work, fed without waiting, ended when it was idle."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections import deque

import msgspec

from oomscope.watch.collector import Stretch
from oomscope.watch.protocol import LENGTH_BYTES, WHOLE, Answered

_JUDGE = "oomscope.watch.judge"
_IDLE_S = 5.0
_ANSWER_S = 120.0  # whoever takes longer for one stretch has lost it
_MOST_WAITING_BYTES = 32 << 20
_ENOUGH_WAITING_BYTES, _ENOUGH_WAITING = 4 << 20, 200
_CHUNK_BYTES = 1 << 18


class Judging:
    """Stretches go in, what they tell comes out, in their order. `lost` counts those that could not be judged."""

    def __init__(self, *, whole: bool = False) -> None:
        self._arguments = [WHOLE] if whole else []
        self.lost = 0
        self.reason = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._waiting: deque[Stretch] = deque()
        self._to_write = bytearray()
        self._answers = bytearray()
        self._since = 0.0  # when it was last given or gave something

    @property
    def is_busy(self) -> bool:
        """Whether an answer is awaited."""
        return bool(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether enough waits: what can wait elsewhere had better do so."""
        return len(self._to_write) > _ENOUGH_WAITING_BYTES or len(self._waiting) > _ENOUGH_WAITING

    def give(self, stretch: Stretch, now: float) -> None:
        """Have one more judged; beyond what may wait it is lost, which is counted."""
        if len(self._to_write) + stretch.size_bytes > _MOST_WAITING_BYTES:
            self._lose(1, "more reports came than could be read")
            return
        if self._process is None:
            self._start()
        text = stretch.text
        self._to_write += len(text).to_bytes(LENGTH_BYTES, "big") + text
        if not self._waiting:
            self._since = now
        self._waiting.append(stretch)
        self._feed()

    def filenos(self) -> tuple[list[int], list[int]]:
        """Descriptors to wait for: to read from, to write to."""
        if self._process is None or self._process.stdin is None or self._process.stdout is None:
            return [], []
        return [self._process.stdout.fileno()], [self._process.stdin.fileno()] if self._to_write else []

    def wait_s(self, now: float) -> float | None:
        """How long until it is to be looked at again; None where it does not run."""
        if self._process is None:
            return None
        return max(0.0, self._since + (_ANSWER_S if self._waiting else _IDLE_S) - now)

    def take(self, now: float) -> list[tuple[Stretch, Answered]]:
        """What has been answered since. One that is idle is ended, one that is stuck, too."""
        if self._process is None:
            return []
        self._feed()
        found = list(self._read(now))
        if self._process is not None and now - self._since >= (_ANSWER_S if self._waiting else _IDLE_S):
            self._stop("a report took too long to read" if self._waiting else "")
        return found

    def close(self) -> None:
        """End it."""
        self._stop("")

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", _JUDGE, *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdin.fileno(), False)
        os.set_blocking(self._process.stdout.fileno(), False)

    def _feed(self) -> None:
        if self._process is None or self._process.stdin is None:
            return
        while self._to_write:
            try:
                written = os.write(self._process.stdin.fileno(), self._to_write[:_CHUNK_BYTES])
            except BlockingIOError:
                return
            except OSError:
                self._stop("the process that reads reports has ended")
                return
            del self._to_write[:written]

    def _read(self, now: float) -> list[tuple[Stretch, Answered]]:
        assert self._process is not None
        assert self._process.stdout is not None
        while True:
            try:
                chunk = os.read(self._process.stdout.fileno(), _CHUNK_BYTES)
            except BlockingIOError:
                break
            if not chunk:
                found = self._whole(now)
                self._stop("the process that reads reports has ended")
                return found
            self._answers += chunk
        return self._whole(now)

    def _whole(self, now: float) -> list[tuple[Stretch, Answered]]:
        found = []
        *lines, rest = bytes(self._answers).split(b"\n")
        self._answers = bytearray(rest)
        for line in lines:
            found.append((self._waiting.popleft(), msgspec.json.decode(line, type=Answered)))
            self._since = now
        return found

    def _stop(self, why: str) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if self._waiting:
            self._lose(len(self._waiting), why or "the watch has ended")
        self._waiting.clear()
        self._to_write.clear()
        self._answers.clear()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        if why:
            process.kill()
        process.wait()

    def _lose(self, count: int, why: str) -> None:
        self.lost += count
        self.reason = why
