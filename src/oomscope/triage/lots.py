"""Small tasks done several at a time: to send one, and to wait for the next, costs more than many of them take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from oomscope.triage.executor import Executor, Failed, Result, Task

_LOTS = 64  # at least: every process of a large machine has its share


def in_lots(
    engine: Executor,
    work: Callable[[Task], Result],
    tasks: Iterable[Task],
    is_small: Callable[[Task], bool],
    *,
    most: int,
    limit_s: float | None,
) -> Iterator[tuple[Task, Result | Failed]]:
    """As Executor.run, the small tasks first, at most `most` of them in a lot; the tasks of a lot that fails, alone."""
    small, alone = list[Task](), list[Task]()
    for task in tasks:
        (small if is_small(task) else alone).append(task)
    size = min(most, max(1, len(small) // _LOTS))
    if size == 1:
        yield from engine.run(work, [*small, *alone], limit_s=limit_s)
        return
    lots = (tuple(small[start : start + size]) for start in range(0, len(small), size))
    for lot, results in engine.run(partial(_each, work), lots, limit_s=limit_s):
        if isinstance(results, Failed):
            alone += lot
        else:
            yield from zip(lot, results, strict=True)
    yield from engine.run(work, alone, limit_s=limit_s)


def _each(work: Callable[[Task], Result], lot: tuple[Task, ...]) -> list[Result]:
    return [work(task) for task in lot]
