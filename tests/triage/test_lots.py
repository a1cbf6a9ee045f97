"""Small tasks done several at a time: each once, and one that ends its process takes none of its lot with it."""

from __future__ import annotations

import os
import time
from collections import Counter

from oomscope.triage.executor import Failed
from oomscope.triage.lots import in_lots
from oomscope.triage.processes import Processes

DEADLY, SLOW, LARGE = 77, 100, 1000


def work(task: int) -> tuple[int, int]:
    """The process that did it, and its square."""
    if task == DEADLY:
        os._exit(3)
    if task == SLOW:
        time.sleep(60)
    return os.getpid(), task * task


def test_each_task_is_done_and_what_fails_fails_alone() -> None:
    """Of 600 tasks, one ends its process, one takes too long, and one is large: 598 have their result."""
    tasks = [*range(599), LARGE]
    with Processes(2) as engine:
        done = list(in_lots(engine, work, tasks, lambda task: task < LARGE, most=8, limit_s=0.5))
    assert Counter(task for task, _ in done) == Counter(tasks)
    results = dict(done)
    failed = {task: result.reason for task, result in results.items() if isinstance(result, Failed)}
    assert set(failed) == {DEADLY, SLOW}
    assert "died (exit code 3)" in failed[DEADLY]
    assert "not done within" in failed[SLOW]
    assert all(result[1] == task * task for task, result in results.items() if not isinstance(result, Failed))


def test_few_tasks_are_shared_among_all_processes() -> None:
    """No process waits while another has a lot of its own."""
    with Processes(2) as engine:
        done = list(in_lots(engine, work, range(20), lambda _: True, most=8, limit_s=None))
    assert len({result[0] for _, result in done if not isinstance(result, Failed)}) == 2
