"""Who does the work: processes of this machine, or a Dask cluster. Both give each task's result as it is done."""

from __future__ import annotations

import logging
import multiprocessing
import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol, Self, TypeVar

from oomscope.errors import BadQuestion, NotOffered, OomscopeError

Task = TypeVar("Task")
Result = TypeVar("Result")

_ATTEMPTS = 3  # of a task whose process died: another task may have been the reason
_TASKS_PER_PROCESS = 1000  # then a new one takes its place: what a process has grown by goes with it
_WAITING_PER_PROCESS = 4
_SCHEDULER = re.compile(r"(?:tcp|tls|wss?)://(?P<host>\[[^\]]+\]|[^\[\]/:]+):(?P<port>\d{1,5})/?")
_PATIENCE_S = 30  # with a scheduler that has no worker


@dataclass(frozen=True, slots=True)
class Failed:
    """Instead of a result: why there is none."""

    reason: str


class Engine(Protocol):
    """Does many tasks, in no order; used within `with`."""

    def __enter__(self) -> Self:
        """Ready."""

    def __exit__(self, *error: object) -> None:
        """Nothing runs any more."""

    def run(self, work: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[tuple[Task, Result | Failed]]:
        """Each task with what `work` returns of it."""


@dataclass
class _Worker:
    """A process with a pipe of its own: nothing is shared that one could leave locked when it is killed."""

    process: BaseProcess
    connection: Connection
    tasks_left: int = _TASKS_PER_PROCESS
    task: list[Any] = field(default_factory=list)  # the one at work, and how often it was tried


class Processes:
    """Processes of this machine: one per CPU that this one may use, unless told."""

    def __init__(self, count: int | None = None) -> None:
        self._count = count or len(os.sched_getaffinity(0))
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["oomscope.fleet.explained"])
        with _uninterrupted():
            forkserver.ensure_running()
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self._workers:
            worker.connection.close()
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join()
        self._workers = []

    def run(self, work: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[tuple[Task, Result | Failed]]:
        """See Engine. A task whose process dies is tried again by another one."""
        left, again = iter(tasks), list[tuple[Task, int]]()
        idle = list(self._workers)
        busy: dict[Connection, _Worker] = {}
        while True:
            while len(busy) < self._count:
                task, attempt = again.pop() if again else next(((each, 1) for each in left), (None, 0))
                if task is None:
                    break
                try:
                    worker = idle.pop() if idle else self._started()
                except OSError as error:
                    again.append((task, attempt))
                    if not busy:
                        raise OomscopeError(f"no process can be started: {error}", advice="--workers N") from error
                    self._count = len(busy)  # as many as this machine lets us have
                    break
                worker.task = [task, attempt]
                busy[worker.connection] = worker
                try:
                    worker.connection.send((work, task))
                except OSError:
                    continue  # it is dead, which its pipe tells below
            if not busy:
                return
            for connection in wait(list(busy)):
                assert isinstance(connection, Connection)
                worker = busy.pop(connection)
                task, attempt = worker.task
                try:
                    result = connection.recv()
                except (EOFError, OSError):
                    ended = self._ended(worker)
                    if attempt < _ATTEMPTS:
                        again.append((task, attempt + 1))
                    else:
                        yield task, Failed(f"the process that read it died ({ended}), {_ATTEMPTS} times")
                    continue
                worker.tasks_left -= 1
                if worker.tasks_left:
                    idle.append(worker)
                else:
                    self._ended(worker)
                yield task, result

    def _started(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        # It is forked from a server that may have been started long ago, with another environment.
        process = self._context.Process(target=_work, args=(theirs, dict(os.environ)), daemon=True)
        process.start()
        theirs.close()
        worker = _Worker(process, ours)
        self._workers.append(worker)
        return worker

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
    os.environ.update(environment)
    try:
        while True:
            work, task = connection.recv()
            connection.send(_done(work, task))
    except (EOFError, OSError):
        return


def _done(work: Callable[[Task], Result], task: Task) -> Result | Failed:
    try:
        return work(task)
    except Exception as error:  # noqa: BLE001 - a defect of ours costs one case, and is told, not ten thousand
        return Failed(f"a defect of oomscope: {type(error).__name__}: {error}")


class Dask:
    """A Dask cluster at an address: its workers need oomscope installed, and must reach the files by the same names."""

    def __init__(self, address: str) -> None:
        try:
            import distributed
        except ImportError as error:
            raise NotOffered("a cluster needs distributed", advice="pip install 'oomscope[fleet]'") from error
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
        return self

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

    def run(self, work: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[tuple[Task, Result | Failed]]:
        """See Engine. A worker that is lost costs time: the scheduler gives its tasks to another one.

        Raises OomscopeError where the scheduler itself is lost.
        """
        try:
            yield from self._run(work, tasks)
        except (OSError, TimeoutError, CancelledError) as error:
            advice = "the same command goes on with what was kept"
            raise OomscopeError(f"the cluster is gone: {type(error).__name__}", advice=advice) from error

    def _run(self, work: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[tuple[Task, Result | Failed]]:
        left = iter(tasks)
        running: dict[str, Task] = {}
        done = self._distributed.as_completed([], loop=self._client.loop, raise_errors=False)
        while True:
            most = _WAITING_PER_PROCESS * max(2, sum(self._client.ncores().values()))
            for task in islice(left, max(0, most - len(running))):
                future = self._client.submit(_done, work, task, pure=False)
                running[future.key] = task
                done.add(future)
            if not running:
                return
            for future in (next(done), *done.next_batch(block=False)):
                task = running.pop(future.key)
                # Both wait where a worker was lost with a result that it had told of: it is worked out again.
                lost = future.exception()
                if isinstance(lost, CancelledError):
                    raise lost
                yield task, future.result() if lost is None else Failed(f"the cluster lost it: {type(lost).__name__}")
