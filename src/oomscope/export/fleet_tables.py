"""A triage as three Parquet tables in parts: cases, consumers, findings (extra `parquet`), for DuckDB and the like.

The columns are the fields of model/fleet.py, each with its type; labels are columns of their own, `label_` before the
name. `case` joins the tables.
"""

from __future__ import annotations

import dataclasses
import errno
import re
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import fsspec

from oomscope.errors import BadQuestion, NotOffered
from oomscope.model.fleet import Case, CaseRow, ConsumerRow, FindingRow

TABLES = ("cases", "consumers", "findings")
CASES_IN_PART, ROWS_IN_PART = 4096, 50_000  # whichever comes first: memory follows the part
_CASE_COLUMNS = {
    "case": "string",
    "path": "string",
    "folder": "string",
    "seen": "string",
    "seen_by": "string",
    "cluster": "string",
    "signature": "string",
}
_PART = re.compile(r"part-\d{5,}\.parquet")
_TYPES = {str: "string", int: "int64", float: "float64", bool: "bool_"}


class FleetTables:
    """Takes cases in their order and writes a part whenever it is full, below a folder or URL.

    What an earlier triage has written there is replaced. Raises NotOffered where pyarrow is not installed, OSError
    where nothing can be written; then no part of this triage stays.
    """

    def __init__(self, place: str, labels: tuple[str, ...]) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise NotOffered("Parquet needs pyarrow", advice="pip install 'oomscope[parquet]'") from error
        self._arrow: Any = pyarrow
        self._labels = labels
        if not place:
            raise BadQuestion("--parquet: an empty path names nothing")
        try:
            self._system, self._place = fsspec.core.url_to_fs(place)
        except (ImportError, ValueError) as error:
            raise NotOffered(f"--parquet {place}: {error}", advice="pip install what it names") from error
        self._schemas = {
            "cases": self._schema(_CASE_COLUMNS | _columns(CaseRow) | {f"label_{name}": "string" for name in labels}),
            "consumers": self._schema({"case": "string"} | _columns(ConsumerRow)),
            "findings": self._schema({"case": "string"} | _columns(FindingRow)),
        }
        self._rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
        self._parts = 0

    def __enter__(self) -> Self:
        self._remove()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and (self._rows["cases"] or not self._parts):
            try:
                self._write()
            except OSError:
                self._remove()
                raise
        elif error is not None:
            self._remove()

    def add(self, case: Case, cluster: str | None) -> None:
        """One case and the id of its cluster."""
        row = _fields(case.result.row)
        signature = row.pop("signature")
        del row["oom_class"]
        self._rows["cases"].append(
            {
                "case": case.name,
                "path": case.path,
                "folder": case.folder,
                "seen": case.seen,
                "seen_by": case.seen_by,
                "cluster": cluster,
                "signature": None if signature is None else str(case.result.row.signature),
                "class": case.result.row.oom_class,
                **row,
                **{f"label_{name}": case.labels.get(name) for name in self._labels},
            }
        )
        self._rows["consumers"] += [{"case": case.name, **_fields(each)} for each in case.result.consumers]
        self._rows["findings"] += [{"case": case.name, **_fields(each)} for each in case.result.findings]
        if len(self._rows["cases"]) >= CASES_IN_PART or sum(map(len, self._rows.values())) >= ROWS_IN_PART:
            self._write()

    def _write(self) -> None:
        for name, rows in self._rows.items():
            table = self._arrow.Table.from_pylist(rows, self._schemas[name])
            path = f"{self._place}/{name}/part-{self._parts:05}.parquet"
            with _as_os_errors():
                self._system.makedirs(f"{self._place}/{name}", exist_ok=True)
                with self._system.open(path, "wb") as file:
                    self._arrow.parquet.write_table(table, file, compression="zstd")
            rows.clear()
        self._parts += 1

    def _remove(self) -> None:
        """The parts of a triage, and nothing else."""
        with _as_os_errors():
            for name in TABLES:
                folder = f"{self._place}/{name}"
                for path in self._system.ls(folder, detail=False) if self._system.isdir(folder) else ():
                    if _PART.fullmatch(path.rpartition("/")[2]):
                        self._system.rm_file(path)

    def _schema(self, columns: dict[str, str]) -> Any:
        types = {name: getattr(self._arrow, kind.removesuffix("[]"))() for name, kind in columns.items()}
        return self._arrow.schema(
            [
                (name, self._arrow.list_(types[name]) if kind.endswith("[]") else types[name])
                for name, kind in columns.items()
            ]
        )


@contextmanager
def _as_os_errors() -> Iterator[None]:
    """Each kind of store has errors of its own."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(errno.EIO, str(error).partition("\n")[0] or type(error).__name__) from error


def _columns(of: type) -> dict[str, str]:
    """The fields of a row and their Arrow types; a tuple is a list."""
    found = {}
    for name, hint in typing.get_type_hints(of).items():
        if name == "signature":
            continue  # a column of text, beside its cluster
        kinds = [kind for kind in typing.get_args(hint) if kind not in (type(None), Ellipsis)] or [hint]
        ending = "[]" if typing.get_origin(hint) is tuple else ""
        found["class" if name == "oom_class" else name] = _TYPES[kinds[0]] + ending
    return found


def _fields(row: Any) -> dict[str, Any]:
    return {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
