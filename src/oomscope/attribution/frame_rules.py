"""The tables of frames: which never answer for memory (frames.tsv), and which subsystem a function is of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import Generic, TypeVar

Value = TypeVar("Value")
_NAMES_REMEMBERED = 1 << 14
_TAG_OF_PROGRAM = re.compile(r"bpf_prog_[0-9a-f]{16}")  # kernel/bpf/core.c bpf_get_prog_name()
Role = str  # plumbing | entry | answers | label


@dataclass(frozen=True, slots=True)
class Row:
    """One row of frames.tsv; `kind` is None where the frame does not tell the kind of memory."""

    role: Role
    kind: str | None
    pattern: str
    reason: str


@lru_cache(maxsize=_NAMES_REMEMBERED)
def frame_row(function: str) -> Row | None:
    """The row for a function name (see Frame.function): exact, else the longest prefix; None for all others."""
    exact, prefixes = _frame_rows()
    function = _TAG_OF_PROGRAM.sub("bpf_prog_TAG", function)
    if function in exact:
        return exact[function]
    return prefixes.longest(function)


@lru_cache(maxsize=_NAMES_REMEMBERED)
def subsystem_of(function: str) -> str | None:
    """The subsystem of a built-in function, None where the table has none."""
    return _subsystem_prefixes().longest(function.lstrip("_"))


@cache
def frame_rows() -> tuple[Row, ...]:
    """Every row of frames.tsv in its order."""
    return tuple(
        Row(role, None if kind == "-" else kind, pattern, reason)
        for role, kind, pattern, reason in _cells("frames.tsv")
    )


@cache
def _frame_rows() -> tuple[dict[str, Row], _Prefixes[Row]]:
    exact = {row.pattern: row for row in frame_rows() if not row.pattern.endswith("*")}
    prefixes = {row.pattern[:-1]: row for row in frame_rows() if row.pattern.endswith("*")}
    return exact, _Prefixes(prefixes)


@cache
def _subsystem_prefixes() -> _Prefixes[str]:
    return _Prefixes(dict(_cells("subsystems.tsv")))


class _Prefixes(Generic[Value]):
    """Beginnings of names, and what each stands for."""

    def __init__(self, rows: dict[str, Value]) -> None:
        self._rows = rows
        self._lengths = sorted({len(prefix) for prefix in rows}, reverse=True)

    def longest(self, name: str) -> Value | None:
        """What the longest of them that a name begins with stands for."""
        rows = self._rows
        return next((rows[name[:length]] for length in self._lengths if name[:length] in rows), None)


def _cells(name: str) -> list[list[str]]:
    text = resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
    return [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]
