"""An OOM event as JSON: the `oom` object of schema oomscope/1, and a log's list of events."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from oomscope.model.oom_analysis import Area, OomAnalysis, RequestFacts, ZoneCheck
from oomscope.model.oom_event import OomEvent
from oomscope.model.verdict import EventLine, Oom


def oom(event: Oom) -> dict[str, Any]:
    """The class, what happened, and the report's own numbers; a report that is not there adds nothing."""
    return {
        "class": event.oom_class,
        "also": list(event.also),
        "panic": event.panic,
        "trigger": None if event.analysis is None else _trigger(event.analysis.event),
        "certainty": event.certainty,
        "story": list(event.story),
        "next": event.next,
        "event": event.number,
        "origin": event.origin,
        "host": None if event.analysis is None else event.analysis.event.host,
        **({} if event.analysis is None else _report(event.analysis)),
    }


def line(event: EventLine) -> dict[str, Any]:
    """One event of several."""
    return {
        "event": event.number,
        "origin": event.origin,
        "line": event.line,
        "at_ns": event.at_ns,
        "stamp": event.stamp,
        "class": event.oom_class,
        "certainty": event.certainty,
        "text": event.text,
    }


def _trigger(event: OomEvent) -> dict[str, Any]:
    asked = event.asked
    flags = f"({'|'.join(asked.gfp_flags)})" if asked.gfp_flags else ""
    return {
        "comm": asked.comm,
        "pid": asked.pid,
        "order": asked.order,
        "gfp_mask": None if asked.gfp_mask is None else f"{asked.gfp_mask:#x}{flags}",
        "size_bytes": asked.size_bytes,
        "stack": list(asked.stack),
    }


def _report(analysis: OomAnalysis) -> dict[str, Any]:
    event = analysis.event
    return {
        "kind": event.kind,
        "lines": [event.first_line, event.last_line],
        "constraint": event.constraint,
        "panic_message": event.panic_message,
        "victims": [
            {
                "pid": v.pid,
                "comm": v.comm,
                "kib": dict(v.kib),
                "score": v.score,
                "line": v.line,
                "only_announced": v.is_announced,
            }
            for v in event.victims
        ],
        "boot": event.boot,
        "killer": None if event.killer is None else asdict(event.killer),
        "request": _request(analysis.request, is_served=analysis.is_served),
        "slab_request": None if event.slab_request is None else asdict(event.slab_request),
        "cma_request": None if event.cma_request is None else asdict(event.cma_request),
        "memcg": None
        if event.memcg is None
        else {
            "path": event.memcg.path,
            "reached": event.memcg.reached,
            "usage_kib": event.memcg.usage_kib,
            "limit_kib": event.memcg.limit_kib,
            "failcnt": event.memcg.failcnt,
            "stat_bytes": dict(event.memcg.stat),
            "stat_events": dict(event.memcg.counts),
        },
        "zones": [_zone(check) for check in analysis.zones],
        "areas": [_area(area) for area in analysis.areas],
        "slab_caches": [
            {"name": c.name, "used_kib": c.used_kib, "total_kib": c.total_kib, "line": c.line}
            for c in event.slab_caches
        ],
        "call_sites": [
            {"bytes": s.size_bytes, "calls": s.calls, "place": s.place, "module": s.module, "function": s.function}
            for s in event.call_sites
        ],
        "processes": [{"pid": p.pid, "comm": p.comm, **p.values} for p in event.processes],
        "process_groups": [
            {"comm": g.comm, "processes": g.count, "pages": g.pages, "swap_pages": g.swap_pages}
            for g in analysis.process_groups
        ],
        "scores": [
            {"pid": s.process.pid, "score": s.per_mille, "unkillable": s.is_unkillable} for s in analysis.scores
        ],
        "unknown_lines": [{"line": number, "text": text} for number, text in event.unknown],
        "distrusted": list(event.distrusted),
    }


def _request(request: RequestFacts, *, is_served: bool | None) -> dict[str, Any]:
    """What the request was allowed to do, and what came of it: see RequestFacts and OomAnalysis."""
    return {
        "highest_zone": request.highest_zone,
        "highest_zone_from": request.zone_from or None,
        "movable": request.is_movable,
        "may_wait": request.may_wait,
        "min_eighths": request.min_eighths,
        "ignores_boost": request.ignores_boost,
        "uses_highatomic": request.uses_highatomic,
        "watermark_by_order": request.by_order,
        "could_be_served": is_served,
    }


def _zone(check: ZoneCheck) -> dict[str, Any]:
    return {
        "zone": check.zone.title,
        "line": check.zone.line,
        "allowed": check.is_allowed,
        "free_pages": check.free_pages,
        "usable_pages": check.usable_pages,
        "needed_pages": check.needed_pages,
        "managed_pages": check.managed_pages,
        "above_watermark": check.passes,
        "above_high": check.is_above_high,
        "cma_pages": check.cma_pages,
        "highatomic_pages": check.highatomic_pages,
        "reserve_pages": check.reserve_pages,
        "boost_pages": check.boost_pages,
        "fitting_blocks": check.fitting_blocks,
    }


def _area(area: Area) -> dict[str, Any]:
    return {
        "area": area.title,
        "managed_pages": area.managed_pages,
        "rows": [{"kind": row.kind, "pages": row.pages} for row in area.rows],
        "rest_pages": area.rest_pages,
    }
