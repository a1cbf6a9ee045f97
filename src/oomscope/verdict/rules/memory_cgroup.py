"""Who fills a memory cgroup, how near it is to its limit, and what that cost it, by its own files."""

from __future__ import annotations

from oomscope.attribution.memcgs import memcgs
from oomscope.model.oom_event import Memcg
from oomscope.model.verdict import CERTAIN, POSSIBLE, Finding
from oomscope.units import AT_ONE_MOMENT, bytes_text, share_text
from oomscope.verdict.oom.memcg_limit import filled_with, fillers
from oomscope.verdict.rules.case import RuleCase

_NEARLY = 0.9
_WAITS_MUCH = 5.0  # per cent of a minute


def rule(case: RuleCase) -> tuple[Finding, ...]:
    """Claims what fills the largest group, where such files are all there is."""
    told = memcgs(case.facts.evidence.readings)
    if not told or not case.is_of_accounts:
        return ()
    memcg = told[0]
    used, limit = _used_bytes(memcg), memcg.bound_kib
    name = f"the memory cgroup {memcg.path}" if memcg.path else "the memory cgroup"
    words = [f"{name} uses {bytes_text(used)}"]
    share = None if not limit else used / (limit * 1024)
    if limit and share is not None:
        words.append(f"{share_text(share)} of its limit ({bytes_text(limit * 1024)})")
    parts = [f"{', '.join(words)}; it is filled with {filled_with(memcg) or 'nothing that its statistics name'}"]
    parts += [each for each in (_kills(memcg), _waits(memcg)) if each]
    is_damaged = (share or 0) > AT_ONE_MOMENT or sum(size for _, size in fillers(memcg)) > AT_ONE_MOMENT * max(used, 1)
    return (
        Finding(
            claim="; ".join(parts),
            pages=None,
            certainty=POSSIBLE if is_damaged else CERTAIN,
            because=("memory.stat" if memcg.usage_kib is None else "memory.stat, and what the group is charged",),
            refuted_by="another reading: the files are of one moment",
            next=_next(memcg, share),
        ),
    )


def _used_bytes(memcg: Memcg) -> int:
    """What the group is charged; where only its statistics are told, their sum."""
    if memcg.usage_kib is not None:
        return memcg.usage_kib * 1024
    return sum(size for _, size in fillers(memcg))


def _kills(memcg: Memcg) -> str:
    kills = memcg.counts.get("oom_kill", 0)
    if kills:
        return f"{kills:,} of its processes were killed at its limit (oom_kill)"
    refused = memcg.counts.get("max", 0) or memcg.failcnt or 0
    return f"it ran into its limit {refused:,} times" if refused else ""


def _waits(memcg: Memcg) -> str:
    waited = memcg.pressure_percent.get("some", 0.0)
    return f"its tasks waited for memory {waited:.0f} % of the last minute" if waited >= _WAITS_MUCH else ""


def _next(memcg: Memcg, share: float | None) -> str:
    if share is not None and share >= _NEARLY:
        return "see what of it can be given back (memory.reclaim); else raise its limit (memory.max)"
    if not memcg.counts and not memcg.pressure_percent:
        return "memory.events tells how often it ran into its limit (oom_kill), memory.pressure how long it waited"
    return "two readings, minutes apart, show what grows"
