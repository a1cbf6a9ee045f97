"""An OOM event added up."""

from __future__ import annotations

from oomscope.attribution.oom.balance import account, areas
from oomscope.attribution.oom.process_groups import process_groups
from oomscope.attribution.oom.request import request_facts
from oomscope.attribution.oom.scores import scores
from oomscope.attribution.oom.zones import is_served, zone_checks
from oomscope.model.oom_analysis import OomAnalysis
from oomscope.model.oom_event import OomEvent


def analyse(event: OomEvent) -> OomAnalysis:
    """The request, the zones and the balance of an event."""
    request = request_facts(event)
    accounting = account(event)
    zones = zone_checks(event, request)
    return OomAnalysis(
        event=event,
        request=request,
        zones=zones,
        is_served=is_served(zones, request),
        accounting=accounting,
        areas=areas(event),
        page_bytes=None if event.page_kib is None else event.page_kib * 1024,
        scores=scores(event, accounting),
        process_groups=process_groups(event.processes),
    )
