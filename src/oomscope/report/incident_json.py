"""An incident as a line of JSON: its own fields, and the whole report as `explain --format json` has it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from oomscope.model.notice import OOM, Incident, Surroundings

SCHEMA = "oomscope-incident/1"
_TEXTS = ("text", "whole_text")  # for people; the report has it all


def line(incident: Incident) -> str:
    """One line, with its end."""
    return json.dumps(to_json(incident), ensure_ascii=False) + "\n"


def to_json(incident: Incident) -> Mapping[str, Any]:
    """The incident as plain values; what is not known is null. Texts for people and whole files are left out."""
    told: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": incident.kind,
        "at": datetime.fromtimestamp(incident.at, UTC).isoformat(timespec="milliseconds"),
        "source": incident.source,
        "text": incident.text,
        "count": incident.count,
    }
    if incident.first_at is not None:
        told["first_at"] = datetime.fromtimestamp(incident.first_at, UTC).isoformat(timespec="milliseconds")
    if incident.host is not None:
        told["host"] = incident.host
    if incident.place is not None:
        told["place"] = dataclasses.asdict(incident.place)
    if incident.figures:
        told["figures"] = dict(incident.figures)
    if incident.notice is not None:
        notice = dataclasses.asdict(incident.notice)
        report = notice.pop("report")
        notice["event"] = notice.pop("kind")  # what happened; the incident's own kind stands above
        told |= {key: value for key, value in notice.items() if key not in _TEXTS}
        told["host"] = incident.host
        told["victims"] = [{"pid": pid, "comm": comm} for pid, comm in incident.notice.victims]
        if incident.kind == OOM:
            told["report"] = report
    if incident.kind == OOM and incident.surroundings is not None:
        told["surroundings"] = _surroundings(incident.surroundings)
    return told


def _surroundings(surroundings: Surroundings) -> dict[str, Any]:
    return {
        each.name: dataclasses.asdict(value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type)
        else value
        for each in dataclasses.fields(surroundings)
        if each.name != "files"
        for value in (getattr(surroundings, each.name),)
    }
