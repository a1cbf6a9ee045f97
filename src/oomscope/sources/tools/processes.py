"""Tables of processes: `ps aux`, `ps -o`, `top`, `smem`, `procrank`, by the names of their columns."""

from __future__ import annotations

import re
from dataclasses import dataclass

from oomscope import bounds
from oomscope.model.account import BYTES, PROCESS, PROPORTIONAL
from oomscope.model.reading import Notes
from oomscope.sources.base import AccountSource
from oomscope.sources.entries import Entries
from oomscope.sources.tools import amounts
from oomscope.text import Lines, printable

# The columns that say what a process has in RAM, the truest first, and those that name it, which stand last.
_SIZES = (b"PSS", b"RSS", b"RES", b"RSZ")
_NAMES = (b"COMMAND", b"CMD", b"CMDLINE", b"ARGS", b"COMM")
HEADER = re.compile(
    rb" *+(?=.*\b(?:PID|USER|User)\b)(?=.*\b(?:PSS|RSS|RES|RSZ|Pss|Rss)\b)(?:[\w%+:/\[\]-]{1,12} +){2,20}"
    rb"(?:COMMAND|CMD|Command|cmdline|ARGS|COMM)(?: +(?:Swap|USS|PSS|RSS|SWAP) *){0,4}\s*$"
)
# `ps aux | grep NAME` gives rows without their header: the prompt says which columns they have.
ASKED = re.compile(rb"\A.{0,120}?[#$>%~] ?ps -?aux\w{0,4}\b.{0,120}\| *grep ")
_OF_AUX = b"USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND"
ROW = re.compile(rb" *+(?=\S.{0,200}?[\d.][KkMmGg]?\s)(?:\S++ ++){2,20}\S")


_TREE = re.compile(r"^(?:[|\\_ ]|\\x5c)+(?=\S)")  # what `ps f` draws before a child


@dataclass(frozen=True, slots=True)
class _Columns:
    """Where the size and the name stand in a row's words; the name may have blanks where it is last."""

    size: int
    name: int
    count: int
    pid: int | None
    is_proportional: bool

    @property
    def is_last(self) -> bool:
        return self.name == self.count - 1


def _recognises(head: bytes) -> bool:
    """Never by itself: its rows may be anything's, and what stands behind them is looked for in a text."""
    del head
    return False


def _read(rows: Lines) -> Notes:
    """`notes.accounts.tables` has the processes by name, in bytes."""
    notes = Notes()
    found = Entries(notes)
    columns: _Columns | None = None
    last: dict[bytes, tuple[str, int]] = {}  # of each process: what stands there twice is read twice
    for line in rows:
        if line is not None and HEADER.match(line) is not None:
            columns = _columns(line)
            continue
        if line is not None and ASKED.match(line) is not None:
            columns = _columns(_OF_AUX)
            continue
        told = None if line is None or columns is None else _row(line, columns)
        if told is None:
            notes.stats.unknown_lines += line is None or bool(line.strip())
        elif told[0] is None or (told[0] not in last and len(last) >= bounds.NAMES):
            found.merge(*told[1])
        else:
            last[told[0]] = told[1]
    for name, size in last.values():
        found.merge(name, size)
    kind = PROPORTIONAL if columns is not None and columns.is_proportional else PROCESS
    notes.accounts.tables = found.account(kind, BYTES, "processes")
    return notes


def _columns(header: bytes) -> _Columns | None:
    words = [word.upper() for word in header.replace(b"[", b" ").replace(b"]", b"").split()]
    size = next((words.index(name) for name in _SIZES if name in words), None)
    name = next((words.index(each) for each in _NAMES if each in words), None)
    pid = words.index(b"PID") if b"PID" in words else None
    return None if size is None or name is None else _Columns(size, name, len(words), pid, words[size] == b"PSS")


def _row(line: bytes, columns: _Columns) -> tuple[bytes | None, tuple[str, int]] | None:
    """The process's id, where that is told, its name and its size in bytes; amounts without a unit are kB."""
    if ROW.match(line) is None:
        return None
    words = line.split(None, columns.count - 1) if columns.is_last else line.split()
    if len(words) < columns.count:
        return None
    # Where the name stands in the middle it may have blanks: what follows it is counted from the end.
    behind = len(words) - columns.count if columns.size > columns.name else 0
    kib = amounts.kib(words[columns.size + behind])
    if kib is None:
        return None
    pid = None if columns.pid is None or not words[columns.pid].isdigit() else words[columns.pid]
    return pid, (_short(printable(words[columns.name])), round(kib * 1024))


def _short(command: str) -> str:
    """The program's own name: `/usr/bin/python3 -m x` is python3; a kernel thread keeps its brackets."""
    first = _TREE.sub("", command).split(" ", 1)[0]
    return first if first.startswith("[") else first.rsplit("/", 1)[-1].rstrip(":") or first


PROCESSES = AccountSource("process table", _recognises, _read)
