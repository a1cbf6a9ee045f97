"""The history as a page of the same look: what grew, a picture over time, a table of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oomscope.report.page import Table, filled
from oomscope.units import bytes_text

_LINES = 8


def render(report: Mapping[str, Any]) -> str:
    """`report` is that of report.history.to_json(). Raises NotOffered where the extra is not installed."""
    grown = [(row["account"], row["holder"]) for row in report["grew"]]
    rows = sorted(report["series"], key=lambda row: ((row["account"], row["holder"]) not in grown, -row["bytes"][-1]))
    lines = rows[: min(_LINES, len(grown))] or rows[:_LINES]
    times = sorted({at for row in lines for at in row["at"]})
    picture = {
        "times": times,
        "lines": [
            {"name": row["holder"], "bytes": [dict(zip(row["at"], row["bytes"], strict=True)).get(at) for at in times]}
            for row in lines
        ],
    }
    available = report["available_bytes"]
    facts = [
        ("until", report["at"]),
        ("RAM", bytes_text(report["ram_bytes"])),
        ("available", "" if available is None else bytes_text(available)),
    ]
    return filled(
        "history.html.j2",
        title=report["headline"],
        lines=[row["text"] for row in report["grew"][1:]],
        facts=facts,
        pictures={"series": picture} if times else {},
        tables=[_table(account, report) for account in dict.fromkeys(row["account"] for row in report["series"])],
    )


def _table(account: str, report: Mapping[str, Any]) -> Table:
    rows = [row for row in report["series"] if row["account"] == account]
    cells = [[row["holder"], row["bytes"][-1], row["bytes"][-1] - row["bytes"][0], len(row["bytes"])] for row in rows]
    return Table(f"{account[:1].upper()}{account[1:]}", ("holder", "bytes now", "change", "readings"), cells)
