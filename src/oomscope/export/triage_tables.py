"""A triage as three Parquet tables in parts: cases, consumers, findings (extra `parquet`), for DuckDB and the like.

The columns are the fields of model/triage.py, each with its type; labels are columns of their own, `label_` before the
name. `case` joins the tables.
"""

from __future__ import annotations

import os
import re
import typing
from types import TracebackType
from typing import Any, Self

from fsspec.implementations.local import LocalFileSystem

from oomscope.errors import BadQuestion, NotOffered
from oomscope.export.tables import require_arrow
from oomscope.io.object_store import as_os_errors, store
from oomscope.model.triage import Case, CaseRow, ConsumerRow, fields, ranked
from oomscope.model.verdict import Finding

TABLES = ("cases", "consumers", "findings")
CASES_IN_PART, ROWS_IN_PART = 4096, 50_000  # whichever comes first: memory follows the part
_OF_CASE = ("path", "folder", "seen", "seen_by", "cluster")
_RANKED = {"case": "string", "rank": "int64"}
_PART = re.compile(r"part-\d{5,}\.parquet")
_NEW = re.compile(r"part-\d{5,}\.parquet\.new")
_TYPES = {str: "string", int: "int64", float: "float64", bool: "bool_"}


class TriageTables:
    """Takes cases in their order and writes a part whenever it is full, below a folder or URL.

    What an earlier triage has written there is replaced when this one is whole, a part at a time. Raises NotOffered
    where pyarrow is not installed, OSError where nothing can be written; then no part of this triage stays, and all of
    the earlier one does.
    """

    def __init__(self, place: str, labels: tuple[str, ...]) -> None:
        self._arrow = require_arrow()
        self._labels = labels
        if not place:
            raise BadQuestion("--parquet: an empty path names nothing")
        try:
            self._system, self._place = store(place)
        except NotOffered as error:
            raise NotOffered(f"--parquet {error}", advice=error.advice) from error
        of_case = dict.fromkeys(("case", *_OF_CASE, "signature"), "string")
        of_labels = {f"label_{name}": "string" for name in labels}
        self._schemas = {
            "cases": self._schema(of_case | _columns(CaseRow) | of_labels),
            "consumers": self._schema(_RANKED | _columns(ConsumerRow)),
            "findings": self._schema(_RANKED | _columns(Finding)),
        }
        self._rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
        self._parts = 0

    def __enter__(self) -> Self:
        self._remove(_NEW)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None and (self._rows["cases"] or not self._parts):
                self._write()
        except OSError:
            self._remove(_NEW)
            raise
        if error is None:
            self._put_in_place()
        else:
            self._remove(_NEW)

    def add(self, case: Case) -> None:
        """One case."""
        row = fields(case.result.row)
        signature, oom_class = row.pop("signature"), row.pop("oom_class")
        self._rows["cases"].append(
            {
                "case": case.name,
                **{name: getattr(case, name) for name in _OF_CASE},
                "signature": None if signature is None else str(signature),
                "class": oom_class,
                **row,
                **{f"label_{name}": case.labels.get(name) for name in self._labels},
            }
        )
        self._rows["consumers"] += [{"case": case.name, **each} for each in ranked(case.result.consumers)]
        self._rows["findings"] += [{"case": case.name, **each} for each in ranked(case.result.findings)]
        if len(self._rows["cases"]) >= CASES_IN_PART or sum(map(len, self._rows.values())) >= ROWS_IN_PART:
            self._write()

    def _write(self) -> None:
        for name, rows in self._rows.items():
            table = self._arrow.Table.from_pylist(rows, self._schemas[name])
            path = f"{self._place}/{name}/part-{self._parts:05}.parquet.new"
            with as_os_errors():
                self._system.makedirs(f"{self._place}/{name}", exist_ok=True)
                with self._system.open(path, "wb") as file:
                    self._arrow.parquet.write_table(table, file, compression="zstd")
            rows.clear()
        self._parts += 1

    def _remove(self, kind: re.Pattern[str]) -> None:
        """The parts of a triage, and nothing else."""
        with as_os_errors():
            for path in self._parts_there(kind):
                self._system.rm_file(path)

    def _put_in_place(self) -> None:
        """Over the earlier parts; those beyond go last."""
        with as_os_errors():
            new = [path.removesuffix(".new") for path in self._parts_there(_NEW)]
            for path in new:
                if isinstance(self._system, LocalFileSystem):
                    os.replace(f"{path}.new", path)
                else:
                    self._system.cp_file(f"{path}.new", path)
                    self._system.rm_file(f"{path}.new")
            for path in set(self._parts_there(_PART)) - set(new):
                self._system.rm_file(path)

    def _parts_there(self, kind: re.Pattern[str]) -> list[str]:
        found = []
        for folder in (f"{self._place}/{name}" for name in TABLES):
            self._system.invalidate_cache(folder)
            for path in self._system.ls(folder, detail=False) if self._system.isdir(folder) else ():
                found += [path] if kind.fullmatch(path.rpartition("/")[2]) else []
        return found

    def _schema(self, columns: dict[str, str]) -> Any:
        types = {name: getattr(self._arrow, kind.removesuffix("[]"))() for name, kind in columns.items()}
        return self._arrow.schema(
            [
                (name, self._arrow.list_(types[name]) if kind.endswith("[]") else types[name])
                for name, kind in columns.items()
            ]
        )


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
