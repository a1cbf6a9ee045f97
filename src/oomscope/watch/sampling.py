"""Readings every few minutes: for the metrics, and for what grows steadily. Nothing of it stays in the watch itself."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from oomscope.model.notice import GROWTH, LOST, Incident
from oomscope.model.usage_sample import Grower
from oomscope.report.history import growth_text
from oomscope.watch import child
from oomscope.watch.outlets.metrics import Metrics
from oomscope.watch.protocol import TakenSample

_MODULE = "oomscope.watch.sample"
_AGAIN_S = 86400.0  # what grows is told of once a day
_MOST_S = 300.0
_MOST_TOLD = 5
_CHUNK_BYTES = 1 << 18


class Sampling:
    """Takes a reading every `every_s` seconds; `history` is where they are kept, None: nowhere."""

    def __init__(self, every_s: float, *, history: Path | None, metrics: Sequence[Metrics] = ()) -> None:
        self._every_s, self._history, self._metrics = every_s, history, metrics
        self._at = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._answer = bytearray()
        self._told: dict[tuple[str, str], float] = {}

    def filenos(self) -> list[int]:
        """Descriptors to wait for."""
        return [] if self._process is None or self._process.stdout is None else [self._process.stdout.fileno()]

    def wait_s(self, now: float) -> float:
        """How long until it is to be looked at again."""
        until = self._at + (self._every_s if self._process is None else _MOST_S)
        return max(0.0, until - now) if self._at else 0.0

    def due(self, now: float) -> Iterator[Incident]:
        """Begin a reading when it is time; what grew, and what went wrong, when one has ended."""
        if self._process is None:
            if not self._at or now - self._at >= self._every_s:
                self._at = now
                self._start()
            return
        if not self._has_ended():
            if now - self._at > _MOST_S:
                self._process.kill()
                yield from self._ended("it took too long")
            return
        yield from self._ended("")

    def close(self) -> None:
        """End what runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _start(self) -> None:
        more = [] if self._history is None else ["--history", str(self._history)]
        self._process = subprocess.Popen(
            child.command(_MODULE, *more),
            env=child.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._answer.clear()

    def _has_ended(self) -> bool:
        assert self._process is not None
        assert self._process.stdout is not None
        while True:
            try:
                chunk = os.read(self._process.stdout.fileno(), _CHUNK_BYTES)
            except BlockingIOError:
                return False
            if not chunk:
                return True
            self._answer += chunk

    def _ended(self, why: str) -> Iterator[Incident]:
        process, self._process = self._process, None
        assert process is not None
        assert process.stdout is not None
        process.stdout.close()
        process.wait()
        try:
            told = msgspec.json.decode(bytes(self._answer), type=TakenSample)
        except msgspec.DecodeError:
            yield self._lost(why or "the process that takes it has failed")
            return
        if told.failure:
            yield self._lost(told.failure)
        for metrics in self._metrics:
            try:
                metrics.show(told.sample)
            except Exception as error:  # noqa: BLE001 - a full disk ends no watch
                yield self._lost(str(error))
        for grower in told.growers[:_MOST_TOLD]:
            key = (grower.account, grower.holder)
            if told.sample.at - self._told.get(key, -_AGAIN_S) >= _AGAIN_S:
                self._told[key] = told.sample.at
                yield incident_of(grower, told.sample.at)

    def _lost(self, why: str) -> Incident:
        figures = {"what": "readings of memory", "reason": why}
        return Incident(LOST, time.time(), f"lost 1 of the readings of memory: {why}", "memory", figures=figures)


def incident_of(grower: Grower, at: float) -> Incident:
    """`kmalloc-64 +1.2 GiB a day for 3.0 d, by X; out of memory in about 5.0 d`."""
    figures: dict[str, int | float | str] = {
        "account": grower.account,
        "holder": grower.holder,
        "bytes": grower.now_bytes,
        "bytes_per_day": round(grower.bytes_per_day),
        "over_s": round(grower.over_s),
        "readings": grower.readings,
        "rising": round(grower.rising, 3),
    }
    if grower.by is not None:
        figures["by"] = grower.by
    if grower.full_in_s is not None:
        figures["full_in_s"] = round(grower.full_in_s)
    return Incident(GROWTH, at, growth_text(grower), "memory", figures=figures)
