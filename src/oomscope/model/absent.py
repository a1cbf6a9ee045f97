"""What is not known, as a value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Absent:
    """`what` is not known, because of `reason`. It reaches the reader; nothing unknown becomes a number."""

    what: str
    reason: str
