"""What a fleet knows of its cases and no log says: labels from the names of folders, and from a table beside them."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from oomscope.errors import BadQuestion
from oomscope.text import printable
from oomscope.triage import places
from oomscope.units import counted

CASE, SEEN = "case", "seen"  # columns of a sidecar with a meaning of their own
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,40}")
_MOST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Labels:
    """Where labels come from.

    `pattern` names the folders that a case lies in, the outermost first; `rows` are the sidecar's: the name of a case,
    or of a folder of cases, to its labels.
    """

    pattern: tuple[str, ...] = ()
    rows: Mapping[str, Mapping[str, str]] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All labels that a case may have."""
        of_rows = {name for row in (self.rows or {}).values() for name in row if name != SEEN}
        return (*self.pattern, *sorted(of_rows - set(self.pattern)))

    def of(self, name: str, folder: str, case: str | None = None) -> dict[str, str]:
        """The labels of a case; what the sidecar says of the case itself comes before what it says of a folder.

        `case` is the name of one OOM of several (`name#2`).
        """
        told = dict(zip(self.pattern, folder.split("/") if folder else (), strict=False))
        for key in (*_nearest_last(name), case or name):
            told |= (self.rows or {}).get(key, {})
        return told

    def notes(self, names: Iterable[str]) -> list[str]:
        """What a reader should know: rows of the sidecar that are of no case."""
        asked = {key for name in names for key in (*_nearest_last(name), *_nearest_last(name.rpartition("#")[0]))}
        unused = [key for key in self.rows or {} if key not in asked]
        if not unused:
            return []
        return [f"of no case here: {counted(len(unused), 'row')} of the sidecar, the first {unused[0]!r}"]


def labels(pattern: str | None, sidecar: str | None) -> Labels:
    """Read `pattern` ("fleet/host") and `sidecar`, a CSV or JSON file. Raises BadQuestion."""
    names = tuple(pattern.strip("/").split("/")) if pattern else ()
    for name in names:
        _check(name, "--labels")
        if name in (CASE, SEEN):
            raise BadQuestion(f"--labels: {name!r} has a meaning of its own: a sidecar may tell it")
    return Labels(names, None if sidecar is None else _rows(sidecar))


def parsed_time(text: str) -> str | None:
    """A time as people write it into tables, as ISO 8601 in UTC; one without a zone is taken for UTC."""
    try:
        found = datetime.fromisoformat(text.strip())
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return found.isoformat(timespec="seconds")


def _nearest_last(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _rows(sidecar: str) -> dict[str, dict[str, str]]:
    try:
        raw = places.head(sidecar, _MOST_BYTES + 1)
        if len(raw) > _MOST_BYTES:
            raise BadQuestion(f"{sidecar}: it is too large for a table of labels")
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise BadQuestion(f"{sidecar}: {places.reason_of(error)}") from error
    except UnicodeDecodeError as error:
        raise BadQuestion(f"{sidecar}: it is no UTF-8 text") from error
    told = _of_json(sidecar, text) if text.lstrip()[:1] in ("[", "{") else _of_csv(sidecar, text)
    found: dict[str, dict[str, str]] = {}
    for number, row in enumerate(told, 1):
        if row.get(CASE) in (None, ""):
            raise BadQuestion(f"{sidecar}: row {number} has no column {CASE!r}, which names a case or a folder of them")
        values = {
            name: printable(str(value).encode("utf-8", "surrogatepass"))
            for name, value in row.items()
            if name != CASE and value not in (None, "")
        }
        for name in values:
            _check(name, sidecar)
        if SEEN in values and parsed_time(values[SEEN]) is None:
            raise BadQuestion(f"{sidecar}: row {number}: {values[SEEN]!r} is no time in ISO 8601")
        found.setdefault(str(row[CASE]).strip("/"), {}).update(values)
    return found


def _of_csv(sidecar: str, text: str) -> list[Mapping[str, object]]:
    try:
        rows = list(csv.DictReader(io.StringIO(text), strict=True))
    except csv.Error as error:
        raise BadQuestion(f"{sidecar}: {error}") from error
    for number, row in enumerate(rows, 1):
        if None in row:
            raise BadQuestion(f"{sidecar}: row {number} has more values than there are columns")
    return [dict(row) for row in rows]


def _of_json(sidecar: str, text: str) -> list[Mapping[str, object]]:
    """A list of objects with a key "case", or an object of objects by the case's name."""
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadQuestion(f"{sidecar}: no JSON: {error}") from error
    if isinstance(told, dict):
        told = [{CASE: name, **row} if isinstance(row, dict) else row for name, row in told.items()]
    if not all(isinstance(row, dict) for row in told):
        raise BadQuestion(f"{sidecar}: neither a list of objects nor an object of objects")
    return list(told)


def _check(name: str, where: str) -> None:
    if _NAME.fullmatch(name) is None:
        raise BadQuestion(f"{where}: {name!r} cannot be the name of a label (letters, digits and _)")
