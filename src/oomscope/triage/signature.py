"""What an answer is called by among many cases: equal for equal causes, whatever the host, the addresses, the compiler.

The class comes first, then who holds the memory. The request stands in it where it is the cause (no zone, no block, no
time for it), and is left out where it only came last, as anybody's may.
"""

from __future__ import annotations

import re

from oomscope.attribution.culprit import requester
from oomscope.model.answer import MEMORY, PROCESS, SLAB_CACHE
from oomscope.model.oom_event import OomEvent
from oomscope.model.triage import Signature
from oomscope.model.verdict import Verdict
from oomscope.verdict.oom.case import ATOMIC_RESERVE, FRAGMENTATION, LOWMEM_ZONE, NO_SHORTAGE, VMALLOC_SPACE

NOBODY = "?"  # code without symbols: its address says nothing elsewhere
_REQUEST_IS_THE_CAUSE = (FRAGMENTATION, ATOMIC_RESERVE, LOWMEM_ZONE, NO_SHORTAGE, VMALLOC_SPACE)
_NUMBER = re.compile(r"\d+")
_OF_CGROUP = re.compile(r"(?<!\()\([^\n]{0,250}\)$")
_DRAWN = re.compile(r"^kmalloc-rnd-\d+-")
_KMALLOC = re.compile(r"^((?:dma-|kmalloc-)(?:[a-z]+-)*)(\d+)$")
_KIB = 1024
_ID = re.compile(r"(?:(?<=pod)|(?<![0-9a-z]))(?=[a-f]*\d)[0-9a-f]{8,64}(?:[-_][0-9a-f]{4,12}){0,4}(?![0-9a-z])")
_ADDRESS = re.compile(r"(?:0x)?[0-9a-f]{8,16}")


def signature(verdict: Verdict) -> Signature:
    """The signature of a verdict's answer."""
    answer = verdict.answer
    event = None if verdict.oom is None or verdict.oom.analysis is None else verdict.oom.analysis.event
    trigger = "" if event is None or answer.oom_class not in _REQUEST_IS_THE_CAUSE else _trigger(event)
    if event is not None and event.memcg is not None and event.memcg.path:
        trigger = f"in {_group(event.memcg.path)}"
    return Signature(answer.oom_class, _holder(answer.holder, answer.holder_kind), answer.module or "", trigger)


def _group(path: str) -> str:
    """A memory cgroup's path without what tells its instances apart: ids of containers and pods, numbers."""
    return _NUMBER.sub("N", _ID.sub("ID", path))


def without_address(function: str) -> str:
    """A function's name, or a mark for code that has none."""
    return NOBODY if _ADDRESS.fullmatch(function) else function


def _holder(name: str | None, kind: str) -> str:
    """The holder's name without what tells its instances apart: numbers of a process, the cgroup of a cache."""
    if name is None:
        return ""
    if kind == SLAB_CACHE:
        return _cache_name(name)
    if kind == PROCESS:
        return _NUMBER.sub("N", name)
    return f"({name})" if kind == MEMORY else without_address(name)


def _cache_name(name: str) -> str:
    """Without the cgroup that it is of, and the number that kmalloc draws anew at each boot (RANDOM_KMALLOC_CACHES).

    Caches of kmalloc were called by bytes before 4.20 (kmalloc-2048), since then by units (kmalloc-2k).
    """
    name = _DRAWN.sub("kmalloc-", _OF_CGROUP.sub("", name))
    by_bytes = _KMALLOC.match(name)
    if by_bytes is None or int(by_bytes[2]) % _KIB:
        return name
    kib = int(by_bytes[2]) // _KIB
    return by_bytes[1] + (f"{kib}k" if kib < _KIB else f"{kib // _KIB}M")


def _trigger(event: OomEvent) -> str:
    """`order-4 GFP_KERNEL by create_buffer [driver]`, as far as it is told."""
    asked = event.asked
    order = "" if asked.order is None else "SysRq-f" if asked.order < 0 else f"order-{asked.order}"
    flags = [flag for flag in asked.gfp_flags if flag.startswith("GFP_")]
    who = requester(asked.stack)
    by = "" if who is None else f"by {without_address(who.function)}" + (f" [{who.module}]" if who.module else "")
    return " ".join(part for part in (order, "|".join(flags), by) if part)
