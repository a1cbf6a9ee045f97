"""Memory cgroups by their own files, which tell one figure each: put together by the folder they lie in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from oomscope.model.oom_event import Memcg
from oomscope.model.reading import Reading


def memcgs(readings: Iterable[Reading]) -> tuple[Memcg, ...]:
    """Each group, the one with most memory first; its path is the folder's, where it is one."""
    found: dict[str, Memcg] = {}
    for reading in readings:
        told = reading.notes.accounts.memcg
        if told is None:
            continue
        folder = reading.origin.rpartition("/")[0] if "/memory." in reading.origin else ""
        known = found.get(folder)
        found[folder] = replace(told, path=folder or None) if known is None else _together(known, told)
    return tuple(sorted(found.values(), key=lambda each: -(each.usage_kib or 0)))


def _together(known: Memcg, told: Memcg) -> Memcg:
    return replace(
        known,
        usage_kib=told.usage_kib if known.usage_kib is None else known.usage_kib,
        limit_kib=told.limit_kib if known.limit_kib is None else known.limit_kib,
        failcnt=told.failcnt if known.failcnt is None else known.failcnt,
        stat=known.stat or told.stat,
        counts={**told.counts, **known.counts},
        pressure_percent={**told.pressure_percent, **known.pressure_percent},
        is_v1=known.is_v1 or told.is_v1,
    )
