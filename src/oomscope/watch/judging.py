"""The watch's end of the judging process: started when there is work, fed without waiting, ended when it was idle."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections import deque

import msgspec

from oomscope.errors import cause_of
from oomscope.watch import child
from oomscope.watch.collector import Stretch
from oomscope.watch.protocol import LENGTH_BYTES, WHOLE, Answered

_JUDGE = "oomscope.watch.judge"
_IDLE_S = 5.0
_ANSWER_S = 120.0  # whoever takes longer for one stretch has lost it
_END_S = 3.0
_MOST_WAITING_BYTES = 32 << 20
_ENOUGH_WAITING_BYTES, _ENOUGH_WAITING = 4 << 20, 200
_CHUNK_BYTES = 1 << 18
_ENDED = "the process that reads reports has ended"


class Judging:
    """Stretches go in, what they tell comes out, in their order. `lost` counts those that could not be judged.

    Where the process dies, what it had in hand is lost; another one is started for what waits behind.
    """

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
    def sources(self) -> set[str]:
        """The logs of which something waits for its answer."""
        return {stretch.source for stretch in self._waiting}

    @property
    def is_full(self) -> bool:
        """Whether enough waits: what can wait elsewhere had better do so."""
        return len(self._to_write) > _ENOUGH_WAITING_BYTES or len(self._waiting) > _ENOUGH_WAITING

    def give(self, stretch: Stretch, now: float) -> None:
        """Have one more judged; beyond what may wait it is lost, which is counted."""
        if len(self._to_write) + stretch.size_bytes > _MOST_WAITING_BYTES:
            self._lose(1, "more reports came than could be read")
            return
        if not self._waiting:
            self._since = now
        self._waiting.append(stretch)
        if self._process is None:
            self._start(now)
        else:
            self._write(stretch)

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
        is_alive = self._feed()
        found, is_open = self._read(now)
        if not is_alive or not is_open:
            self._begin_again(_ENDED, now)
        elif now - self._since >= (_ANSWER_S if self._waiting else _IDLE_S):
            if self._waiting:
                self._begin_again("it took too long to read", now)
            else:
                self._end()
        return found

    def close(self) -> None:
        """End it; what still waits is lost."""
        self._end()
        if self._waiting:
            self._lose(len(self._waiting), "the watch has ended")
            self._waiting.clear()

    def _start(self, now: float) -> None:
        """A process, with all that waits. Where there can be none, as without memory for it, the first is lost."""
        self._since = now
        try:
            self._process = subprocess.Popen(
                child.command(_JUDGE, *self._arguments),
                env=child.environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            self._waiting.popleft()
            self._lose(1, f"no process could be started to read it: {cause_of(error)}")
            return
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdin.fileno(), False)
        os.set_blocking(self._process.stdout.fileno(), False)
        for stretch in self._waiting:
            self._write(stretch)

    def _write(self, stretch: Stretch) -> None:
        text = stretch.text
        self._to_write += len(text).to_bytes(LENGTH_BYTES, "big") + text
        self._feed()

    def _feed(self) -> bool:
        """Write as much as it takes; whether it still listens."""
        if self._process is None or self._process.stdin is None:
            return False
        while self._to_write:
            try:
                written = os.write(self._process.stdin.fileno(), self._to_write[:_CHUNK_BYTES])
            except BlockingIOError:
                break
            except OSError:
                return False
            del self._to_write[:written]
        return True

    def _read(self, now: float) -> tuple[list[tuple[Stretch, Answered]], bool]:
        """The answers that are whole; whether more may come."""
        assert self._process is not None
        assert self._process.stdout is not None
        is_open = True
        while True:
            try:
                chunk = os.read(self._process.stdout.fileno(), _CHUNK_BYTES)
            except BlockingIOError:
                break
            if not chunk:
                is_open = False
                break
            self._answers += chunk
        *lines, rest = bytes(self._answers).split(b"\n")
        self._answers = bytearray(rest)
        found = []
        for line in lines:
            found.append((self._waiting.popleft(), msgspec.json.decode(line, type=Answered)))
            self._since = now
        return found, is_open

    def _begin_again(self, why: str, now: float) -> None:
        """Another process for what waits behind the one that was in hand."""
        self._end()
        if self._waiting:
            self._waiting.popleft()
            self._lose(1, why)
        if self._waiting:
            self._start(now)

    def _end(self) -> None:
        process, self._process = self._process, None
        self._to_write.clear()
        self._answers.clear()
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        if self._waiting:
            process.kill()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _lose(self, count: int, why: str) -> None:
        self.lost += count
        self.reason = why
