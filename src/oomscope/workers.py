"""One input read by several processes: each parses and adds up its own parts, the sums come together at the end."""

from __future__ import annotations

import multiprocessing
import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

from oomscope.attribution.selection import Selection
from oomscope.attribution.tally import Tally
from oomscope.errors import Unreadable
from oomscope.model.counts import Counts
from oomscope.model.reading import Notes
from oomscope.sources import Source
from oomscope.sources.input import CHUNK_BYTES

PART_BYTES = 8 << 20
_WORKERS_AT_MOST = 16


@dataclass(frozen=True, slots=True)
class FilePart:
    """Bytes [start, stop) of a file, beginning with the separator (but for the first) and ending before one."""

    path: Path
    start: int
    stop: int

    def chunks(self) -> Iterator[bytes]:
        """The part's bytes."""
        with self.path.open("rb", buffering=0) as file:
            file.seek(self.start)
            left = self.stop - self.start
            while left > 0 and (chunk := file.read(min(CHUNK_BYTES, left))):
                left -= len(chunk)
                yield chunk


Part = FilePart | bytes


def worker_count() -> int:
    """One process per CPU that this one may use.

    1 beside other Python threads, whose locks a fork would copy, and in a process that is one of many already.
    """
    if threading.active_count() > 1 or multiprocessing.current_process().daemon:
        return 1
    return min(len(os.sched_getaffinity(0)), _WORKERS_AT_MOST)


def file_parts(path: Path, size_bytes: int, separator: bytes) -> Iterator[FilePart]:
    """A plain file cut before separators, into parts of about 8 MiB."""
    start = 0
    with path.open("rb", buffering=0) as file:
        while start < size_bytes:
            stop = _next_separator(file.fileno(), start + PART_BYTES, size_bytes, separator)
            yield FilePart(path, start, stop)
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
    source: Source,
    parts: Iterable[Part],
    selection: Selection,
    *,
    ranking_only: bool,
    on_part: Callable[[int], None],
) -> tuple[Counts, Notes]:
    """Parse and add up the parts; `on_part` is told the size of each when it is done.

    Raises Unreadable where a worker died.
    """
    context = multiprocessing.get_context("fork")
    workers = []
    connections: list[Connection] = []
    for _ in range(worker_count()):
        ours, theirs = context.Pipe()
        workers.append(
            context.Process(
                target=_work, args=(theirs, [*connections, ours], source, selection, ranking_only), daemon=True
            )
        )
        with warnings.catch_warnings():
            # Python 3.12+ warns of any thread in the process: here those are OpenBLAS's, which is made for fork.
            warnings.simplefilter("ignore", DeprecationWarning)
            workers[-1].start()
        theirs.close()
        connections.append(ours)
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


def _ready(connections: list[Connection], on_part: Callable[[int], None]) -> list[Connection]:
    ready = [c for c in wait(connections) if isinstance(c, Connection)]
    for connection in ready:
        on_part(connection.recv())
    return ready


def _gathered(connections: list[Connection], on_part: Callable[[int], None]) -> tuple[Counts, Notes]:
    tally, notes = Tally(), Notes()
    working = list(connections)
    while working:
        for connection in wait(working):
            assert isinstance(connection, Connection)
            result = connection.recv()
            if isinstance(result, int):
                on_part(result)
                continue
            counts, worker_notes = result
            tally.absorb(counts)
            notes.add(worker_notes)
            working.remove(connection)
    return tally.counts(), notes


def _work(
    connection: Connection, of_others: list[Connection], source: Source, selection: Selection, ranking_only: bool
) -> None:
    for other in of_others:
        other.close()  # inherited through fork; a parent that dies must be seen as the end of its pipe
    parser = source.parser(ranking_only=ranking_only)
    tally = Tally(selection)
    try:
        while (part := connection.recv()) is not None:
            chunks = part.chunks() if isinstance(part, FilePart) else iter((part,))
            for batch in parser.batches(chunks):
                tally.add(batch)
            size_bytes = part.stop - part.start if isinstance(part, FilePart) else len(part)
            connection.send(size_bytes)
        connection.send((tally.counts(), parser.notes))
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
