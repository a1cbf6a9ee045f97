"""What is not known, as a value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unknown:
    """`what` is not known, because of `reason`. It reaches the reader; nothing unknown becomes a number."""

    what: str
    reason: str


Absent = Unknown  # what oomscope.Unknown was called before 0.2


@dataclass(frozen=True, slots=True)
class Inaccessible(Unknown):
    """Not known here and now: with a privilege, debug info or a library more it would be."""
