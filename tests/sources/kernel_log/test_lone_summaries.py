from __future__ import annotations

from oomscope.pipeline.api import explain_events

# What `dmesg | grep oom-kill` leaves of two kills, three hours apart.
SUMMARIES = b"""\
[4650180.470877] oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=aegis,mems_allowed=0,global_oom,\
task_memcg=/system.slice/docker-00748bf4e957f82c239a1db8a88579059b7d40c7b5fbd3f43617d31d3f646f12.scope,task=java,pid=7134,uid=1000
[4660180.470877] oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,\
task_memcg=/system.slice/mysql.service,task=mysqld,pid=9134,uid=1000
"""


def test_two_summaries_are_two_kills() -> None:
    """Each with its own process and its own time: the kernel prints one of them for a kill."""
    first, second = (verdict.answer.headline for verdict in explain_events(SUMMARIES))
    assert "java (pid 7134)" in first
    assert "4650180.470877 s" in first
    assert "mysqld (pid 9134)" in second
    assert "4660180.470877 s" in second
