"""Who does the work: processes of this machine, or a Dask cluster. Both give each task's result as it is done."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from itertools import islice
from typing import Any, Protocol, Self, TypeVar

from oomscope.errors import BadQuestion, NotOffered

Task = TypeVar("Task")
Result = TypeVar("Result")

_ATTEMPTS = 3  # of a task whose process died: another one may have been the reason
_TASKS_PER_PROCESS = 1000  # then a new one takes its place: what a process has grown by goes with it
_WAITING_PER_PROCESS = 4


class WorkerDied(Exception):
    """The process that did a task ended before it was done, every time it was tried."""


class Engine(Protocol):
    """Does many tasks, in no order; used within `with`."""

    def __enter__(self) -> Self:
        """Ready."""

    def __exit__(self, *error: object) -> None:
        """Nothing runs any more."""

    def run(self, work: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[tuple[Task, Result | WorkerDied]]:
        """Each task with what `work` returns of it; `work` raises nothing itself."""


class Processes:
    """Processes of this machine: one per CPU that this one may use, unless told."""

    def __init__(self, count: int | None = None) -> None:
        self._count = count or len(os.sched_getaffinity(0))

    def __enter__(self) -> Self:
        from pebble import ProcessPool

        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["oomscope.fleet.explained"])
        self._pool: Any = ProcessPool(max_workers=self._count, max_tasks=_TASKS_PER_PROCESS, context=context)
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.stop()
        self._pool.join()

    def run(self, work: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[tuple[Task, Result | WorkerDied]]:
        """See Engine. As many tasks wait as keep the processes busy, no more."""
        from pebble import ProcessExpired

        left, running = iter(tasks), dict[Future[Any], tuple[Task, int]]()
        while True:
            for task in islice(left, self._count * _WAITING_PER_PROCESS - len(running)):
                running[self._pool.schedule(work, args=(task,))] = task, 1
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                task, attempt = running.pop(future)
                try:
                    yield task, future.result()
                except ProcessExpired as error:
                    if attempt < _ATTEMPTS:
                        running[self._pool.schedule(work, args=(task,))] = task, attempt + 1
                    else:
                        yield task, WorkerDied(f"exit code {error.exitcode}")


class Dask:
    """A Dask cluster at an address: its workers need oomscope installed, and must reach the files by the same names."""

    def __init__(self, address: str) -> None:
        try:
            import distributed
        except ImportError as error:
            raise NotOffered("a cluster needs distributed", advice="pip install 'oomscope[fleet]'") from error
        self._distributed: Any = distributed
        self._address = address

    def __enter__(self) -> Self:
        try:
            self._client = self._distributed.Client(self._address, timeout="10s", set_as_default=False)
        except (OSError, ValueError) as error:
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise BadQuestion(f"--scheduler {self._address}: {reason}") from error
        return self

    def __exit__(self, *error: object) -> None:
        self._client.close()

    def run(self, work: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[tuple[Task, Result | WorkerDied]]:
        """See Engine. A worker that is lost costs time: the scheduler gives its tasks to another one."""
        left = iter(tasks)
        running: dict[str, Task] = {}
        done = self._distributed.as_completed([], raise_errors=False)
        while True:
            most = _WAITING_PER_PROCESS * max(2, sum(self._client.ncores().values()))
            for task in islice(left, most - len(running)):
                future = self._client.submit(work, task, pure=False)
                running[future.key] = task
                done.add(future)
            if not running:
                return
            for future in (next(done), *done.next_batch(block=False)):
                task = running.pop(future.key)
                if isinstance(future.exception(), self._distributed.KilledWorker):
                    yield task, WorkerDied("each worker that tried it was lost")
                else:
                    yield task, future.result()
