"""What of the advice does not fit the machine that the evidence is of.

The releases are those in which the kernel got the setting, by its own history; an unknown release fits all.
"""

from __future__ import annotations

import re

from oomscope.model.oom_event import KILL, MEMCG_KILL, PANIC
from oomscope.model.unknown import Unknown
from oomscope.model.verdict import Verdict

_SINCE = (
    (r"page_owner=on", (4, 0)),  # 48c96a368579
    (r"oomscope arm", (5, 13)),  # bpf_for_each_map_elem(), 69c087ba6225
    (r"mem_profiling|/proc/allocinfo", (6, 10)),  # 22d407b164ff
    (r"compaction_proactiveness", (5, 9)),  # facdaa917c4d
    (r"compact_memory", (2, 6, 35)),  # 76ab0f530e46
    (r"watermark_scale_factor", (4, 6)),  # 795ae7a0de6b
    (r"watermark_boost_factor", (5, 0)),  # 1c30844d2dfe
    (r"MemoryMax=|memory\.max|memory\.high", (4, 5)),  # 67e465a77ba6: version 2 is official
    (r"memory\.limit_in_bytes", (2, 6, 25)),  # 8cdea7c05454
    (r"/sys/kernel/debug/slab/", (5, 14)),  # 64dd68497be7
    (r"smaps_rollup", (4, 14)),  # 493b0e9d945f
    (r"kvmalloc", (4, 12)),  # a7c3e901a46f
    (r"memory\.reclaim", (5, 19)),  # 94968384dde1
    (r"nokmem", (4, 5)),  # 04823c833b12
)
_UNTIL = ((r"/sys/kernel/slab/.*alloc_calls", (5, 14)), (r"slab_allocators", (5, 5)))
_RELEASE = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")
_MANAGERS = (
    (r"kubepods", r"resources\.limits\.memory"),
    (r"/docker/|docker-[0-9a-f]{12}", r"docker update|resources\.limits"),
    (r"/lxc", r"lxc config"),
)
_FOR_A_DRIVER = r"kvmalloc|scatter-gather|a driver should"


def misfits(verdict: Verdict) -> list[str]:
    """Each piece of advice that the machine cannot follow, or its reader has no use for."""
    advice = [finding.next for finding in verdict.findings if finding.next]
    if verdict.oom is not None and verdict.oom.next:
        advice.append(verdict.oom.next)
    wrong = []
    for text in dict.fromkeys(advice):
        wrong += [f"{name} on {_release(verdict)}: {text}" for name in _of_another_age(text, _release(verdict))]
        wrong += [f"{why}: {text}" for why in _of_another_manager(text, verdict)]
    return wrong


def _release(verdict: Verdict) -> str | None:
    event = None if verdict.oom is None or verdict.oom.analysis is None else verdict.oom.analysis.event
    if event is not None and event.release is not None:
        return event.release
    release = verdict.kernel.release
    return None if isinstance(release, Unknown) else release


def _of_another_age(text: str, release: str | None) -> list[str]:
    match = _RELEASE.match(release or "")
    if match is None:
        return []
    age = tuple(int(number or 0) for number in match.groups())
    too_new = [name for name, since in _SINCE if age < since and re.search(name, text)]
    return too_new + [name for name, until in _UNTIL if age >= until and re.search(name, text)]


def _of_another_manager(text: str, verdict: Verdict) -> list[str]:
    event = None if verdict.oom is None or verdict.oom.analysis is None else verdict.oom.analysis.event
    if event is None:
        return []
    wrong = []
    if event.kind in (KILL, MEMCG_KILL) and "-b -1" in text:
        wrong.append("the machine is in the same boot")
    if event.kind in (KILL, PANIC, MEMCG_KILL) and re.search(_FOR_A_DRIVER, text):
        wrong.append("who reads of a kill writes no driver")
    memcg = event.memcg
    if memcg is not None and memcg.path is not None and text.startswith("raise "):
        manager = next((how for path, how in _MANAGERS if re.search(path, memcg.path)), None)
        if manager is not None and not re.search(manager, text):
            wrong.append(f"the group is {memcg.path}")
        if memcg.is_v1 and re.search(r"MemoryMax=|memory\.max", text):
            wrong.append("the group is of version 1")
    return wrong
