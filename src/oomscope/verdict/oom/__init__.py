"""Which class an OOM is of, and why: one rule a file, in the order in which they decide.

First what needs no holder: a group's limit, kernel addresses, memory that was there. Then what made this request fail:
a zone, a block, no time to wait. Then who holds most. The greatest holder always stands beside the class.
"""

from __future__ import annotations

from collections.abc import Callable

from oomscope.model.oom_event import FAILURE, FOREIGN, PANIC
from oomscope.model.verdict import CERTAIN, POSSIBLE, Finding
from oomscope.units import bytes_text
from oomscope.verdict import advice
from oomscope.verdict.oom import (
    atomic_reserve,
    cma,
    fragmentation,
    lowmem_zone,
    memcg_limit,
    no_shortage,
    vmalloc_space,
)
from oomscope.verdict.oom.case import UNDETERMINED, Cause, OomCase
from oomscope.verdict.oom.consumers import holders

REASONS: tuple[Callable[[OomCase], Cause | None], ...] = (
    memcg_limit.rule,
    vmalloc_space.rule,
    cma.rule,
    no_shortage.rule,
    lowmem_zone.rule,
    fragmentation.rule,
    atomic_reserve.rule,
)
_BESIDE = 0.2  # of RAM: what else is worth naming with the class

__all__ = ["REASONS", "Cause", "OomCase", "causes"]

# Who kills beside the kernel's OOM killer, and where it is set when.
_SETTINGS = {
    "systemd-oomd": "oomctl shows what it watches; ManagedOOMMemoryPressureLimit= of the slice says when it kills",
    "earlyoom": "its options say when it kills: -m for RAM, -s for swap (both must be low), --avoid for whom it spares",
    "nohang": "/etc/nohang/nohang.conf says when it kills",
    "Android": "logcat -b events (killinfo) and dumpsys meminfo show who held RAM",
}


def causes(case: OomCase) -> list[Cause]:
    """The primary cause first, then what stands beside it."""
    first = next((cause for rule in REASONS if (cause := rule(case)) is not None), None)
    held = holders(case)
    if first is None and held and _is_about_memory(case):
        first, *held = held
    beside = [cause for index, cause in enumerate(held) if index == 0 or _is_large(case, cause)]
    return [_undetermined(case) if first is None else first, *beside]


def _is_about_memory(case: OomCase) -> bool:
    """Whether the event is one of the kernel's OOM killer or allocator at all."""
    return case.event.kind != FOREIGN


def _is_large(case: OomCase, cause: Cause) -> bool:
    return cause.finding.pages is not None and case.share(cause.finding.pages) >= _BESIDE


def _by_user_space(case: OomCase) -> str:
    """Who was ended by whom, and why, in the killer's own words."""
    killer, victims = case.event.killer, case.event.victims
    name = "a killer in user space" if killer is None else killer.name
    why = "" if killer is None or killer.reason is None else f": {killer.reason}"
    if not victims:
        if "ow memory" in why:
            return f"{name}, not the kernel's OOM killer, found memory low{why}"
        return f"{name} reported, and killed nobody in this log{why}"
    most = max(victims, key=lambda victim: victim.kib.get("rss", 0))
    pid = f" (pid {most.pid})" if most.pid else ""
    held = f", which held {bytes_text(most.kib['rss'] * 1024)}" if most.kib.get("rss") else ""
    more = f"; it ended {len(victims):,} processes" if len(victims) > 1 else ""
    if all(victim.is_announced for victim in victims):
        return f"{name} asked {most.comm}{pid}{held}{',' if held else ''} to end, and it did not{why}"
    return f"{name}, not the kernel's OOM killer, ended {most.comm}{pid}{held}{why}{more}"


def _next_of_user_space(case: OomCase) -> str:
    """Where it is set when that killer acts; who held the rest its log does not say."""
    name = "" if case.event.killer is None else case.event.killer.name
    told = next((text for word, text in _SETTINGS.items() if word in name), "")
    rest = "the killer's log does not show who held the rest: ps, slabtop and /proc/meminfo show it next time"
    return f"{told}; {rest}" if told else rest


def _undetermined(case: OomCase) -> Cause:
    event = case.event
    if event.kind == FOREIGN:
        claim = _by_user_space(case)
    else:
        claim = f"the log does not show why: it lacks {', '.join(event.cut) or 'the counters of Mem-Info'}"
    return Cause(
        UNDETERMINED,
        Finding(
            claim=claim,
            pages=None,
            certainty=CERTAIN if event.kind == FOREIGN else POSSIBLE,
            because=case.evidence("header", "panic", "no killable processes", "user-space killer", "reason"),
            refuted_by="the lines that are missing here",
            next=_next_of_user_space(case)
            if event.kind == FOREIGN
            else f"find the whole log: {advice.whole_log(has_ended=event.kind == PANIC)}"
            + (" (the kernel prints Mem-Info for one failure in 10 s)" if event.kind == FAILURE else ""),
        ),
    )
