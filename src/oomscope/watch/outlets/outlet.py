"""An outlet: what is told goes through a queue of its own, in a thread of its own; what does not fit is counted."""

from __future__ import annotations

import queue
import threading
from typing import Protocol

from oomscope.model.notice import Incident

_MOST_WAITING = 200
_END_S = 10.0


class Outlet(Protocol):
    """Somewhere to tell an incident. `name` is what people call it."""

    name: str

    def tell(self, incident: Incident) -> None:
        """Tell it, or raise OSError or another error: it is lost then, and counted."""

    def close(self) -> None:
        """Let go of it."""


class Queued:
    """An outlet behind its queue. `lost` counts what it did not take, `reason` is the last one why."""

    def __init__(self, outlet: Outlet) -> None:
        self.outlet = outlet
        self.lost = 0
        self.reason = ""
        self.is_gone = False  # its reader has left for good
        self._queue: queue.Queue[Incident | None] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._work, name=outlet.name, daemon=True)
        self._thread.start()

    def put(self, incident: Incident) -> None:
        """Have it told; never waits."""
        try:
            self._queue.put_nowait(incident)
        except queue.Full:
            self._lose("it takes less than comes")

    def close(self) -> None:
        """Tell what still waits, for a while, and end; what does not get through then is lost."""
        try:
            self._queue.put(None, timeout=_END_S)
            self._thread.join(_END_S)
        except queue.Full:
            pass
        if self._thread.is_alive():
            self.lost += max(1, self._queue.qsize())
            self.reason = "it takes too long"
        else:
            self.outlet.close()

    def _work(self) -> None:
        while (incident := self._queue.get()) is not None:
            try:
                self.outlet.tell(incident)
            except BrokenPipeError:
                self.is_gone = True
            except Exception as error:  # noqa: BLE001 - one outlet's trouble is no other's
                self._lose(str(error) or type(error).__name__)

    def _lose(self, why: str) -> None:
        self.lost += 1
        self.reason = why
