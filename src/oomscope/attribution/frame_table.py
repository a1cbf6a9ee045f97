"""The tables of frames: which never answer for memory (frames.tsv), and which subsystem a function is of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TypeVar

Value = TypeVar("Value")
_LONGEST_NAME = 64
Role = str  # plumbing | entry | label


@dataclass(frozen=True, slots=True)
class Row:
    """One row of frames.tsv; `kind` is None where the frame does not tell the kind of memory."""

    role: Role
    kind: str | None
    pattern: str
    reason: str


@cache
def frame_row(function: str) -> Row | None:
    """The row for a function name (see Frame.function): exact, else the longest prefix; None for all others."""
    exact, prefixes = _frame_rows()
    if function in exact:
        return exact[function]
    return _longest_prefix(prefixes, function)


@cache
def subsystem_of(function: str) -> str | None:
    """The subsystem of a built-in function, None where the table has none."""
    return _longest_prefix(_subsystem_prefixes(), function.lstrip("_"))


@cache
def frame_rows() -> tuple[Row, ...]:
    """Every row of frames.tsv in its order."""
    return tuple(
        Row(role, None if kind == "-" else kind, pattern, reason)
        for role, kind, pattern, reason in _cells("frames.tsv")
    )


@cache
def _frame_rows() -> tuple[dict[str, Row], dict[str, Row]]:
    exact = {row.pattern: row for row in frame_rows() if not row.pattern.endswith("*")}
    prefixes = {row.pattern[:-1]: row for row in frame_rows() if row.pattern.endswith("*")}
    return exact, prefixes


@cache
def _subsystem_prefixes() -> dict[str, str]:
    return dict(_cells("subsystems.tsv"))


def _longest_prefix(rows: dict[str, Value], name: str) -> Value | None:
    # No name in the tables is longer than that: a name out of a spoilt dump may be any length.
    longest = min(len(name), _LONGEST_NAME)
    return next((rows[name[:length]] for length in range(longest, 0, -1) if name[:length] in rows), None)


def _cells(name: str) -> list[list[str]]:
    text = resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
    return [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]
