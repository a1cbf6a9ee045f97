"""What is not known, as a value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Absent:
    """`what` is not known, because of `reason`. It reaches the reader; nothing unknown becomes a number."""

    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class OutOfReach(Absent):
    """Not known here and now: with a privilege, debug info or a library more it would be."""
