"""One input read by several processes: each parses and adds up its own parts, the sums come together at the end."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from oomscope.attribution.selection import Selection
from oomscope.attribution.tally import Tally
from oomscope.errors import Unreadable, cause_of
from oomscope.io.input import CHUNK_BYTES
from oomscope.model.reading import Notes
from oomscope.sources.base import Added, RowSource

PART_BYTES = 8 << 20
_WORKERS_AT_MOST = 16


@dataclass(frozen=True, slots=True)
class FilePart:
    """Bytes [start, stop) of an open file, beginning with the separator (but for the first) and ending before one.

    The file is opened once, before the processes are made: they read the same one, whatever becomes of its name.
    """

    descriptor: int
    start: int
    stop: int

    def chunks(self, defects: list[str]) -> Iterator[bytes]:
        """The part's bytes, as far as they can be had; why there are no more is added to `defects`."""
        at = self.start
        while at < self.stop:
            try:
                chunk = os.pread(self.descriptor, min(CHUNK_BYTES, self.stop - at), at)
            except OSError as error:
                defects.append(f"reading it failed at byte {at:,} ({cause_of(error)})")
                return
            if not chunk:
                defects.append(f"it became shorter while it was read: {at:,} bytes are there")
                return
            at += len(chunk)
            yield chunk


class WorkersOutOfReachError(Exception):
    """No process can be started here: too few descriptors, processes or too little memory."""


Part = FilePart | bytes


def worker_count() -> int:
    """One process per CPU that this one may use.

    1 beside other Python threads, whose locks a fork would copy, in a process that is one of many already, and in a
    browser, which has no processes.
    """
    if threading.active_count() > 1 or multiprocessing.current_process().daemon or sys.platform == "emscripten":
        return 1
    return min(len(os.sched_getaffinity(0)), _WORKERS_AT_MOST)


def file_parts(descriptor: int, size_bytes: int, separator: bytes) -> Iterator[FilePart]:
    """A plain file cut before separators, into parts of about 8 MiB."""
    start = 0
    while start < size_bytes:
        try:
            stop = _next_separator(descriptor, start + PART_BYTES, size_bytes, separator)
        except OSError:
            stop = size_bytes  # whoever reads the part says so
        yield FilePart(descriptor, start, stop)
        start = stop


def stream_parts(chunks: Iterable[bytes], separator: bytes) -> Iterator[bytes]:
    """A stream cut before separators, into parts of a few MiB; a stretch without any is one part per 8 MiB."""
    held: list[bytes] = []
    held_bytes = 0
    for chunk in chunks:
        held.append(chunk)
        held_bytes += len(chunk)
        if held_bytes < PART_BYTES // 4:
            continue
        text = b"".join(held)
        cut = text.rfind(separator)
        if cut <= 0:
            if held_bytes < PART_BYTES:
                continue
            cut = len(text) - len(separator)
        yield text[:cut]
        held, held_bytes = [text[cut:]], len(text) - cut
    if held:
        yield b"".join(held)


def tally_in_workers(
    source: RowSource,
    parts: Iterable[Part],
    selection: Selection,
    *,
    ranking_only: bool,
    on_part: Callable[[int], None],
) -> Added:
    """Parse and add up the parts; `on_part` is told the size of each when it is done.

    The sums, the notes, and one clause on what could not be read. Raises Unreadable where a worker died,
    WorkersOutOfReachError before anything is read where none can be started.
    """
    workers, connections = _started(source, selection, ranking_only=ranking_only)
    try:
        idle = list(connections)
        for part in parts:
            if not idle:
                idle = _ready(connections, on_part)
            idle.pop().send(part)
        for connection in connections:
            connection.send(None)
        return _gathered(connections, on_part)
    except (EOFError, BrokenPipeError, ConnectionResetError) as error:
        raise Unreadable("a worker process died while reading", advice="was it killed for memory?") from error
    finally:
        for connection in connections:
            connection.close()
        for worker in workers:
            worker.join(timeout=5)
            if worker.is_alive():
                worker.terminate()
                worker.join()


def _started(
    source: RowSource, selection: Selection, *, ranking_only: bool
) -> tuple[list[BaseProcess], list[Connection]]:
    """As many workers as there are CPUs, or as this machine lets us have."""
    context = multiprocessing.get_context("fork")
    workers: list[BaseProcess] = []
    connections: list[Connection] = []
    for _ in range(worker_count()):
        try:
            ours, theirs = context.Pipe()
        except OSError:
            break
        worker = context.Process(
            target=_work, args=(theirs, [*connections, ours], source, selection, ranking_only), daemon=True
        )
        try:
            with warnings.catch_warnings():
                # Python 3.12+ warns of any thread in the process: here those are OpenBLAS's, which is made for fork.
                warnings.simplefilter("ignore", DeprecationWarning)
                worker.start()
        except OSError:
            ours.close()
            theirs.close()
            break
        theirs.close()
        workers.append(worker)
        connections.append(ours)
    if not workers:
        raise WorkersOutOfReachError
    return workers, connections


def _ready(connections: list[Connection], on_part: Callable[[int], None]) -> list[Connection]:
    ready = [c for c in wait(connections) if isinstance(c, Connection)]
    for connection in ready:
        on_part(connection.recv())
    return ready


def _gathered(connections: list[Connection], on_part: Callable[[int], None]) -> Added:
    tally, notes, defect = Tally(), Notes(), None
    working = list(connections)
    while working:
        for connection in wait(working):
            assert isinstance(connection, Connection)
            result = connection.recv()
            if isinstance(result, int):
                on_part(result)
                continue
            if isinstance(result, BaseException):
                raise result  # a bug of ours, met where it was read
            counts, worker_notes, its_defect = result
            defect = defect or its_defect
            tally.absorb(counts)
            notes.add(worker_notes)
            working.remove(connection)
    return Added(tally.counts(), notes, defect)


def _work(
    connection: Connection, of_others: list[Connection], source: RowSource, selection: Selection, ranking_only: bool
) -> None:
    for other in of_others:
        other.close()  # inherited through fork; a parent that dies must be seen as the end of its pipe
    parser = source.parser(ranking_only=ranking_only)
    tally = Tally(selection)
    defects: list[str] = []
    failed: Exception | None = None
    try:
        while (part := connection.recv()) is not None:
            chunks = part.chunks(defects) if isinstance(part, FilePart) else iter((part,))
            try:
                for batch in parser.batches(chunks) if failed is None else ():
                    tally.add(batch)
            except Exception as error:  # noqa: BLE001 - told to the one who asked, who tells it as a bug
                failed = RuntimeError(f"{type(error).__name__}: {error}")
                failed.add_note(traceback.format_exc())
            connection.send(part.stop - part.start if isinstance(part, FilePart) else len(part))
        connection.send(failed or (tally.counts(), parser.notes, defects[0] if defects else None))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return  # the parent is gone or stops


def _next_separator(descriptor: int, start: int, size_bytes: int, separator: bytes) -> int:
    """Where the first separator at or after `start` stands; the end of the file where there is none."""
    at = start
    while at < size_bytes:
        window = os.pread(descriptor, CHUNK_BYTES, at)
        found = window.find(separator)
        if found >= 0:
            return at + found
        if len(window) <= len(separator):
            break
        at += len(window) - len(separator) + 1
    return size_bytes
