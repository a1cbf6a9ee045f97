"""A row for each stack: as CSV, and as Parquet for DuckDB, pandas and the like (extra `parquet`)."""

from __future__ import annotations

import csv as csv_writer
import io
from typing import Any

from oomscope.errors import NotOffered
from oomscope.export.frames import path_of
from oomscope.model.ranked import Consumer
from oomscope.model.triage import ConsumerRow, fields
from oomscope.model.verdict import Verdict

# Columns in their order, with the names that Parquet's types have in Arrow.
COLUMNS = {
    "pages": "int64",
    "bytes": "int64",
    "share_of_ram": "float64",
    "kind": "string",
    "culprit": "string",
    "module": "string",
    "subsystem": "string",
    "blocks": "int64",
    "first_allocated_ns": "int64",
    "last_allocated_ns": "int64",
    "growth": "string",
    "handle": "int64",
    "stack": "string",  # Parquet: a list of them, the entry first
}


def csv(verdict: Verdict) -> bytes:
    """Comma-separated, with a header; the stack's frames are joined by semicolons. What is not known is empty.

    A text that a spreadsheet would take for a formula has an apostrophe before it.
    """
    out = io.StringIO()
    writer = csv_writer.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for consumer in verdict.consumers:
        row = _row(consumer) | {"stack": ";".join(path_of(consumer))}
        writer.writerow([_harmless(row[name]) for name in COLUMNS])
    return out.getvalue().encode("utf-8", "backslashreplace")


def parquet(verdict: Verdict) -> bytes:
    """One row group, compressed. Raises NotOffered where pyarrow is not installed."""
    pyarrow = require_arrow()
    types = {name: getattr(pyarrow, kind)() for name, kind in COLUMNS.items()}
    types["stack"] = pyarrow.list_(pyarrow.string())
    rows = [_row(consumer) | {"stack": path_of(consumer)} for consumer in verdict.consumers]
    table = pyarrow.Table.from_pylist(rows, pyarrow.schema(list(types.items())))
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


def require_arrow() -> Any:
    """The pyarrow package, with what writes Parquet. Raises NotOffered."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise NotOffered("Parquet needs pyarrow", advice="pip install pyarrow") from error
    return pyarrow


def _row(consumer: Consumer) -> dict[str, Any]:
    return fields(ConsumerRow.of(consumer)) | {"handle": consumer.holding.stack.handle}


def _harmless(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
