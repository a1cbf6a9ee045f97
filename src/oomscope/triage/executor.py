"""What does many tasks: an engine gives each task's result as it is done, and a reason where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

from oomscope.errors import foreseen

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Failed:
    """Instead of a result: why there is none."""

    reason: str


class Executor(Protocol):
    """Does many tasks, in no order; used within `with`."""

    def __enter__(self) -> Self:
        """Ready."""

    def __exit__(self, *error: object) -> None:
        """Nothing runs any more."""

    def run(
        self, work: Callable[[Task], Result], tasks: Iterable[Task], *, limit_s: float | None = None
    ) -> Iterator[tuple[Task, Result | Failed]]:
        """Each task with what `work` returns of it; one that takes longer than `limit_s` fails with that reason."""


def attempt(work: Callable[[Task], Result], task: Task) -> Result | Failed:
    """One task where it is done: its result, or the bug of ours that it met."""
    try:
        return work(task)
    except Exception as error:  # noqa: BLE001 - a bug of ours costs one case, and is told, not ten thousand
        told = foreseen(error)
        return Failed(f"{told}; {told.advice}" if told.advice else str(told))


def too_long(limit_s: float) -> Failed:
    """What a task fails with that was not done in time."""
    return Failed(f"not done within {limit_s:g} s (--case-timeout)")
