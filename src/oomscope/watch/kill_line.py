"""The memory cgroups that the summary of a kill names (mm/oom_kill.c dump_oom_summary())."""

from __future__ import annotations

from oomscope.text import printable


def groups_of(line: bytes) -> tuple[str, str] | None:
    """The limited group, "/" for the whole machine, and that of the task that was chosen; None for another line.

    Paths may hold commas, and none of these words.
    """
    before, found, rest = line.partition(b",task_memcg=")
    task, is_whole, _ = rest.partition(b",task=")
    if not found or not is_whole or b"oom-kill:" not in before:
        return None
    _, is_limited, limited = before.partition(b",oom_memcg=")
    return printable(limited) if is_limited else "/", printable(task)
