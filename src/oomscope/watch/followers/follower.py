"""What a log is followed by: its lines as they come, and where to go on after a restart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

# Where a follower goes on: numbers and texts, as JSON has them.
Position = Sequence[int | str]


class FollowedLine(NamedTuple):
    """A line without its end; `caller` is printk's, where the kernel tells it. `position` is behind it."""

    text: bytes
    caller: bytes | None
    position: Position


class Follower(Protocol):
    """A log that goes on. `name` is what people call it; `lost_records` came too fast to be read."""

    name: str
    lost_records: int

    def fileno(self) -> int | None:
        """A descriptor that is readable when there are lines; None where it has to be looked at now and then."""

    def lines(self) -> Iterator[FollowedLine]:
        """The lines that have come since, without waiting for more. Raises OomscopeError where it has ended."""

    def close(self) -> None:
        """Let go of it."""
