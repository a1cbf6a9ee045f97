"""Who fills a memory cgroup, and how near it is to its limit, by its own files (memory.stat, memory.current)."""

from __future__ import annotations

from oomscope.model.oom_event import Memcg
from oomscope.model.verdict import CERTAIN, Finding
from oomscope.units import bytes_text, share_text
from oomscope.verdict.oom.memcg_limit import filled_with, fillers, limit_kib
from oomscope.verdict.rules.case import RuleCase


def rule(case: RuleCase) -> tuple[Finding, ...]:
    """Claims what fills the group, where its files are all there is."""
    told = [r.notes.accounts.memcg for r in case.facts.evidence.readings if r.notes.accounts.memcg is not None]
    if not told or not case.is_of_accounts:
        return ()
    memcg = max(told, key=lambda each: len(each.stat))
    used = _used_bytes(memcg)
    limit = limit_kib(memcg)
    filled = filled_with(memcg) or "nothing that its statistics name"
    words = [f"the memory cgroup uses {bytes_text(used)}"]
    if limit:
        words.append(f"{share_text(used / (limit * 1024))} of its limit ({bytes_text(limit * 1024)})")
    return (
        Finding(
            claim=f"{', '.join(words)}; it is filled with {filled}",
            pages=None,
            certainty=CERTAIN,
            because=("memory.stat, memory.current",),
            refuted_by="another reading: the files are of one moment",
            next="memory.events tells how often it ran into its limit (oom_kill), memory.pressure how long it waited",
        ),
    )


def _used_bytes(memcg: Memcg) -> int:
    """What the group is charged; where only its statistics are told, their sum."""
    return (memcg.usage_kib or 0) * 1024 or sum(size for _, size in fillers(memcg))
