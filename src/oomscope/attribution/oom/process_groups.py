"""The processes of a task table by their names."""

from __future__ import annotations

from collections.abc import Iterable

from oomscope.model.oom_analysis import ProcessGroup
from oomscope.model.oom_event import Process, own_pages


def process_groups(processes: Iterable[Process]) -> tuple[ProcessGroup, ...]:
    """The processes of a task table by their names, the greatest group first."""
    by_name: dict[str, list[Process]] = {}
    for process in processes:
        by_name.setdefault(process.comm, []).append(process)
    groups = [
        ProcessGroup(
            comm,
            len(own),
            sum(map(own_pages, own)),
            sum(process.values.get("swapents", 0) for process in own),
            max(own, key=own_pages),
            "rss_anon" not in own[0].values,
        )
        for comm, own in by_name.items()
    ]
    return tuple(sorted(groups, key=lambda group: -group.pages))
