"""A Dask cluster that does tasks (extra `fleet`)."""

from __future__ import annotations

import ctypes
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from functools import partial
from itertools import islice
from typing import Any, Self

from oomscope.errors import BadQuestion, NotOffered, OomscopeError
from oomscope.triage.cache import version
from oomscope.triage.executor import Failed, Result, Task, attempt, too_long

_WAITING_PER_THREAD = 4
_SCHEDULER = re.compile(r"(?:tcp|tls|wss?)://(?P<host>\[[^\]]+\]|[^\[\]/:]+):(?P<port>\d{1,5})/?")
_PATIENCE_S = 30  # with a scheduler that has no worker
_POLLED_S = 0.02


class DaskExecutor:
    """A Dask cluster at an address: its workers need oomscope installed, and must reach the files by the same names."""

    def __init__(self, address: str) -> None:
        try:
            import distributed
        except ImportError as error:
            raise NotOffered("a cluster needs distributed", advice="pip install distributed pyarrow") from error
        self._distributed: Any = distributed
        self._address = address
        for name in list(logging.root.manager.loggerDict):
            if name.startswith("distributed"):
                logging.getLogger(name).setLevel(logging.CRITICAL)  # what matters is told in a sentence

    def __enter__(self) -> Self:
        self._require_scheduler()
        try:
            self._client = self._distributed.Client(self._address, timeout="10s", set_as_default=False)
        except Exception as error:
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise BadQuestion(f"--scheduler {self._address}: {reason}") from error
        try:
            self._client.wait_for_workers(1, timeout=_PATIENCE_S)
        except Exception as error:
            self._client.close()
            raise BadQuestion(f"--scheduler {self._address}: no worker within {_PATIENCE_S} s") from error
        self._require_same_version()
        return self

    def _require_same_version(self) -> None:
        """That every worker runs this very oomscope. Raises BadQuestion."""
        try:
            versions = self._client.run(version, on_error="return")
        except Exception as error:
            self._client.close()
            raise BadQuestion(f"--scheduler {self._address}: its workers do not answer: {error}") from error
        for worker, told in versions.items():
            if told != version():
                self._client.close()
                why = "another oomscope" if isinstance(told, str) else f"no oomscope ({type(told).__name__}: {told})"
                raise BadQuestion(f"--scheduler {self._address}: the worker {worker} has {why}")

    def __exit__(self, *error: object) -> None:
        self._client.close()

    def _require_scheduler(self) -> None:
        """That somebody answers there: a client that finds nobody takes long to end. Raises BadQuestion."""
        match = _SCHEDULER.fullmatch(self._address)
        if match is None:
            raise BadQuestion(f"--scheduler {self._address!r}: no address of a scheduler, as tcp://host:8786 is one")
        try:
            socket.create_connection((match["host"].strip("[]"), int(match["port"])), timeout=10).close()
        except (OSError, OverflowError) as error:
            raise BadQuestion(f"--scheduler {self._address}: {str(error).lower()}") from error

    def run(
        self, work: Callable[[Task], Result], tasks: Iterable[Task], *, limit_s: float | None = None
    ) -> Iterator[tuple[Task, Result | Failed]]:
        """See Executor. A worker that is lost costs time: the scheduler gives its tasks to another one.

        Raises OomscopeError where the scheduler itself is lost.
        """
        try:
            yield from self._run(work if limit_s is None else partial(_within, limit_s, work), tasks)
        except (OSError, TimeoutError, CancelledError) as error:
            advice = "the same command goes on with what was kept"
            raise OomscopeError(f"the cluster is gone: {type(error).__name__}", advice=advice) from error

    def _run(self, work: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[tuple[Task, Result | Failed]]:
        left = iter(tasks)
        running: dict[str, Task] = {}
        done = self._distributed.as_completed([], loop=self._client.loop, raise_errors=False)
        while True:
            most = _WAITING_PER_THREAD * max(2, sum(self._client.ncores().values()))
            for task in islice(left, max(0, most - len(running))):
                future = self._client.submit(attempt, work, task, pure=False)
                running[future.key] = task
                done.add(future)
            if not running:
                return
            for future in self._some(done):
                task = running.pop(future.key)
                # Both wait where a worker was lost with a result that it had told of: it is worked out again.
                lost = future.exception()
                if isinstance(lost, CancelledError):
                    raise lost
                yield task, future.result() if lost is None else Failed(f"the cluster lost it: {type(lost).__name__}")

    def _some(self, done: Any) -> list[Any]:
        """What is done, as soon as anything is. Raises OomscopeError where no worker is left to do it."""
        alone_since: float | None = None
        asked = time.monotonic()
        while not (batch := done.next_batch(block=False)):
            time.sleep(_POLLED_S)
            if time.monotonic() - asked < 1:
                continue
            asked = time.monotonic()
            alone_since = None if self._client.ncores() else alone_since or asked
            if alone_since is not None and asked - alone_since > _PATIENCE_S:
                raise OomscopeError(f"the cluster has had no worker for {_PATIENCE_S} s", advice="")
        return list(batch)


def _within(limit_s: float, work: Callable[[Task], Result], task: Task) -> Result | Failed:
    """A task in a thread of its own, where a cluster's worker cannot be ended for one case: it is told in time.

    What goes on behind that is stopped at its next instruction of Python.
    """
    told: list[Result | Failed] = []
    thread = threading.Thread(target=lambda: told.append(attempt(work, task)), daemon=True)
    thread.start()
    thread.join(limit_s)
    if told:
        return told[0]
    if thread.ident is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))
    return too_long(limit_s)
