"""Processes of this machine that do tasks, each with a pipe of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Self

from oomscope.errors import OomscopeError, cause_of
from oomscope.triage.executor import Failed, Result, Task, attempt, too_long

_GRACE_S = 1.0
_LOOKED_EVERY_S = 0.2  # for a task that takes too long
_ATTEMPTS = 3  # of a task whose process died: another task may have been the reason
_TASKS_PER_PROCESS = 1000  # then a new one takes its place: what a process has grown by goes with it


@dataclass
class _Worker:
    """A process with a pipe of its own: nothing is shared that one could leave locked when it is killed."""

    process: BaseProcess
    connection: Connection
    tasks_left: int = _TASKS_PER_PROCESS
    task: list[Any] = field(default_factory=list)  # the one at work, and how often it was tried
    begun_s: float = 0.0


class Processes:
    """Processes of this machine: one per CPU that this one may use, unless told."""

    def __init__(self, count: int | None = None) -> None:
        self._count = count or len(os.sched_getaffinity(0))
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["oomscope.triage.worker"])
        try:
            with _uninterrupted():
                forkserver.ensure_running()
        except OSError as error:
            advice = "TMPDIR may be too long" if error.errno is None else ""
            raise OomscopeError(f"no process can be started: {cause_of(error)}", advice=advice) from error
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self._workers:
            worker.connection.close()
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join()
        self._workers = []

    def run(
        self, work: Callable[[Task], Result], tasks: Iterable[Task], *, limit_s: float | None = None
    ) -> Iterator[tuple[Task, Result | Failed]]:
        """See Executor. A task whose process dies is tried again by another; one that takes too long ends its own."""
        left, again = iter(tasks), list[tuple[Task, int]]()
        idle = list(self._workers)
        busy: dict[Connection, _Worker] = {}
        while True:
            self._hand_out(work, left, again, idle, busy)
            if not busy:
                return
            if limit_s is not None:
                yield from self._late(busy, limit_s)
            for connection in wait(list(busy), None if limit_s is None else _LOOKED_EVERY_S):
                assert isinstance(connection, Connection)
                worker = busy.pop(connection)
                task, tried = worker.task
                try:
                    result = connection.recv()
                except (EOFError, OSError):
                    ended = self._ended(worker)
                    if tried < _ATTEMPTS:
                        again.append((task, tried))
                    else:
                        yield task, Failed(f"the process that read it died ({ended}), {_ATTEMPTS} times")
                    continue
                worker.tasks_left -= len(task) if isinstance(task, tuple) else 1  # of a lot, as many as it holds
                if worker.tasks_left > 0:
                    idle.append(worker)
                else:
                    self._ended(worker)
                self._hand_out(work, left, again, idle, busy)  # it works on while this result is taken
                yield task, result

    def _hand_out(
        self,
        work: Callable[[Task], Result],
        left: Iterator[Task],
        again: list[tuple[Task, int]],
        idle: list[_Worker],
        busy: dict[Connection, _Worker],
    ) -> None:
        """Give every process a task, as long as there are tasks. Raises OomscopeError where none can be started."""
        while len(busy) < self._count:
            task, tried = again.pop() if again else next(((each, 0) for each in left), (None, 0))
            if task is None:
                return
            try:
                worker = idle.pop() if idle else self._started()
            except (OSError, EOFError) as error:
                again.append((task, tried))
                if not busy:
                    why = cause_of(error) if isinstance(error, OSError) else type(error).__name__
                    raise OomscopeError(f"no process can be started: {why}", advice="--workers N") from error
                self._count = len(busy)  # as many as this machine lets us have
                return
            worker.task = [task, tried + 1]
            worker.begun_s = time.monotonic()
            busy[worker.connection] = worker
            try:
                worker.connection.send((work, task))
            except OSError:
                continue  # it is dead, which its pipe tells below

    def _late(self, busy: dict[Connection, _Worker], limit_s: float) -> Iterator[tuple[Any, Failed]]:
        """The tasks that take too long; their processes end with them."""
        for connection, worker in list(busy.items()):
            if time.monotonic() - worker.begun_s > limit_s and not connection.poll():
                del busy[connection]
                self._end(worker)
                yield worker.task[0], too_long(limit_s)

    def _started(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        # It is forked from a server that may have been started long ago, with another environment.
        process = self._context.Process(target=_work, args=(theirs, dict(os.environ)), daemon=True)
        process.start()
        theirs.close()
        worker = _Worker(process, ours)
        self._workers.append(worker)
        return worker

    def _end(self, worker: _Worker) -> None:
        """End a process at its work: politely, so that it takes away what it fetched, then for certain."""
        worker.process.terminate()
        worker.process.join(_GRACE_S)
        worker.process.kill()
        self._ended(worker)

    def _ended(self, worker: _Worker) -> str:
        """Take leave of a process: how it ended."""
        worker.connection.close()
        worker.process.join()
        self._workers.remove(worker)
        code = worker.process.exitcode or 0
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """What is started meanwhile does not hear of Ctrl-C; the one who starts it sees to that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _work(connection: Connection, environment: dict[str, str]) -> None:
    """Do tasks until nobody gives any; the one who gives them sees to interruptions."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # what was fetched is taken away
    os.environ.update(environment)
    try:
        while True:
            work, task = connection.recv()
            connection.send(attempt(work, task))
    except (EOFError, OSError):
        return
