"""The texts within a page_owner record: parsed once each, however many records hold them."""

from __future__ import annotations

import inspect
import re
import weakref
from collections.abc import Callable, Iterable, Iterator

from oomscope import bounds
from oomscope.model.batch import Column, Request, Task
from oomscope.numeric import np
from oomscope.text import printable

# A header is a request, closed by the flags' parenthesis, and a task; each has few distinct texts by itself.
_REQUEST = re.compile(rb"(?P<order>\d{1,5}), mask (?P<mask>0x[0-9a-f]{1,16}|0)\((?P<flags>[^()]*)")
_TASK = re.compile(
    rb"\)(?:, pid (?P<pid>-?\d{1,10}))?(?:, tgid (?P<tgid>-?\d{1,10}))?(?: \((?P<comm>.*)\))?(?:, ts)?", re.DOTALL
)
_HANDLE = re.compile(rb"handle: (-?\d{1,10})")
_CRS_HELD = 8
_LINE_END = re.compile(rb"(?<!\r)\r++\n")


class CorruptTextError(ValueError):
    """A text that is not what the kernel prints."""


class TextIds(dict[bytes, int]):
    """Indices of distinct texts, each parsed when first met; `parse` raises ValueError for what it cannot read.

    It forgets everything at 65,536 texts, so that a dump in which every text differs is slow, not large.
    """

    def __init__(self, parse: Callable[[bytes], int]) -> None:
        super().__init__()
        # The parser has this table: a circle of the two would outlive every reading of `top`.
        self._parse = weakref.WeakMethod(parse) if inspect.ismethod(parse) else lambda: parse

    def __missing__(self, text: bytes) -> int:
        parse = self._parse()
        assert parse is not None, "a parser outlives its tables"
        index = parse(text)
        if len(self) >= bounds.TEXTS:
            self.clear()
        self[text] = index
        return index


def handle_of(line: bytes) -> int | None:
    """The depot handle that a line tells, None where it is no such line."""
    match = _HANDLE.fullmatch(line)
    return None if match is None else int(match[1]) % (1 << 32)


def request_of(text: bytes) -> Request:
    """The request of a header. Raises CorruptTextError."""
    match = _REQUEST.fullmatch(text)
    if match is None or int(match["order"]) > bounds.ORDER:
        raise CorruptTextError
    return Request(int(match["order"]), int(match["mask"], 0), printable(match["flags"]))


def task_of(text: bytes) -> Task:
    """The task of a header. Raises CorruptTextError."""
    match = _TASK.fullmatch(text)
    if match is None:
        raise CorruptTextError
    pid, tgid, comm = match.groups()
    return Task(
        pid=None if pid is None else int(pid),
        tgid=None if tgid is None else int(tgid),
        comm=None if comm is None else printable(comm),
    )


def header_values(text: bytes) -> tuple[Request, Task]:
    """The request and the task of a header. Raises CorruptTextError."""
    request, closing, task = text.partition(b")")
    return request_of(request), task_of(closing + task)


def time_words(records: list[bytes]) -> int:
    """How many words of a header begin with the time stamp: a dump is of one kernel, so a whole header tells.

    `ts N ns` of 6.7+ ends with two (N, ns), `ts N ns, free_ts M ns` of 5.13 to 6.6 with five, none before 5.11.
    """
    for record in records[:3]:
        header, _, _ = record.partition(b"\n")
        if b", free_ts " in header:
            return 5
        if b", ts " in header:
            return 2
    return 0


def times_of(values: list[int]) -> Column:
    """Nanoseconds; what 64 bits cannot hold becomes -1, to be left out."""
    try:
        return np.array(values, np.int64)
    except OverflowError:
        return np.array([value if 0 <= value < 1 << 63 else -1 for value in values], np.int64)


def line_ends_unified(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes with CRLF as LF; CRs at the end of a chunk are held until what follows is known.

    At the end of the bytes they belong to a line end that stands in the next part.
    """
    held = b""
    for chunk in chunks:
        if held or b"\r" in chunk:
            chunk = held + chunk
            held = chunk[len(chunk.rstrip(b"\r")) :][:_CRS_HELD]
            chunk = _LINE_END.sub(b"\n", chunk[: len(chunk) - len(held)])
        yield chunk
