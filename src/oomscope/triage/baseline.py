"""An earlier triage, as `--format json` has written it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from oomscope.errors import BadQuestion
from oomscope.report.triage_json import SCHEMA
from oomscope.triage.clusters import Previous
from oomscope.triage.places import reason_of, shown


class _Cluster(msgspec.Struct):
    id: str
    signature: str


class _Triage(msgspec.Struct):
    """As much of it as is asked for."""

    schema: str
    clusters: list[_Cluster]
    made: str | None = None
    signature_version: int = 1  # which the first triages did not write


def previous(path: str) -> Previous:
    """Read it. Raises BadQuestion."""
    try:
        found = msgspec.json.decode(Path(path).read_bytes(), type=_Triage)
    except OSError as error:
        raise BadQuestion(f"{shown(path)}: {reason_of(error)}") from error
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BadQuestion(f"{shown(path)}: not the JSON of a triage: {error}") from error
    if found.schema != SCHEMA:
        raise BadQuestion(f"{shown(path)}: not the JSON of a triage: schema {shown(found.schema)}")
    signatures = {shown(each.id): shown(each.signature) for each in found.clusters}
    return Previous(signatures, shown(found.made or "an earlier triage"), found.signature_version)
