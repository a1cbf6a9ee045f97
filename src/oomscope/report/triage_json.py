"""A triage as JSON, schema oomscope-triage/1 (oomscope-triage-1.schema.json beside this file), a case at a time."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from typing import Any

from oomscope.model.triage import SIGNATURE_VERSION, Case, Cluster, Signature, Triage, fields, ranked
from oomscope.report.triage_answer import sentence

SCHEMA = "oomscope-triage/1"


def pieces(triage: Triage, cases: Iterable[Case], *, made: str) -> Iterator[str]:
    """The text of one JSON object; `made` is when the triage was made, ISO 8601."""
    head = {
        "schema": SCHEMA,
        "made": made,
        "signature_version": SIGNATURE_VERSION,
        "answer": sentence(triage),
        "counts": {"cases": triage.cases, "failed": triage.failed, **triage.answers},
        "classes": [{"class": name, "cases": count, "certain": certain} for name, count, certain in triage.classes],
        "clusters": [_cluster(cluster) for cluster in triage.clusters],
        "since": triage.since,
        "gone": list(triage.gone),
        "failures": [{"reason": reason, "cases": count} for reason, count in triage.failures],
        "notes": list(triage.notes),
    }
    yield "{\n " + ",\n ".join(f"{json.dumps(name)}: {_text(value)}" for name, value in head.items())
    yield ',\n "cases": ['
    separator = "\n  "
    for case in cases:
        yield separator + _text(case_json(case))
        separator = ",\n  "
    yield "\n ]\n}\n"


def case_json(case: Case) -> dict[str, Any]:
    """One case as plain values: its row, consumers and findings; unknown is null."""
    row = fields(case.result.row)
    del row["signature"]
    return {
        "case": case.name,
        "path": case.path,
        "folder": case.folder,
        "labels": dict(case.labels),
        "seen": case.seen,
        "seen_by": case.seen_by,
        "cluster": case.cluster,
        "class": row.pop("oom_class"),
        **row,
        "consumers": ranked(case.result.consumers),
        "findings": ranked(case.result.findings),
    }


def _cluster(cluster: Cluster) -> dict[str, Any]:
    told = dataclasses.asdict(cluster)
    told["signature"] = str(cluster.signature)
    told["class"] = cluster.signature.oom_class
    told |= _parts(cluster.signature)
    for name in ("kernels", "answered_by"):
        told[name] = dict(told[name])
    told["labels"] = {name: dict(values) for name, values in cluster.labels.items()}
    return told


def _parts(signature: Signature) -> dict[str, str | None]:
    return {
        "culprit": signature.culprit or None,
        "module": signature.module or None,
        "trigger": signature.trigger or None,
    }


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
