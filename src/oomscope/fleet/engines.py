"""What does many tasks: an engine gives each task's result as it is done, and a reason where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Failed:
    """Instead of a result: why there is none."""

    reason: str


class Engine(Protocol):
    """Does many tasks, in no order; used within `with`."""

    def __enter__(self) -> Self:
        """Ready."""

    def __exit__(self, *error: object) -> None:
        """Nothing runs any more."""

    def run(self, work: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[tuple[Task, Result | Failed]]:
        """Each task with what `work` returns of it."""


def attempt(work: Callable[[Task], Result], task: Task) -> Result | Failed:
    """One task where it is done: its result, or the defect of ours that it met."""
    try:
        return work(task)
    except Exception as error:  # noqa: BLE001 - a defect of ours costs one case, and is told, not ten thousand
        return Failed(f"a defect of oomscope: {type(error).__name__}: {error}")
