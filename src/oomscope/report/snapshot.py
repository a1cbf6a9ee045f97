"""A snapshot of `oomscope top` for people, and as JSON."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from oomscope.model.account import BYTES
from oomscope.model.snapshot import Snapshot, SnapshotRow
from oomscope.units import bytes_text, duration_text, share_text

_HEAD_ROWS = 4  # two lines above the table, its header, and one that stays empty
KEYS = "q quit  s sort  f fold  p pause  r from now on"


def screen(snapshot: Snapshot, *, height: int, note: str = "") -> Group:
    """As much of the snapshot as `height` lines hold; `note` stands in the last line."""
    amount = _amount(snapshot.total, snapshot.unit)
    change = _signed(snapshot.total_change, snapshot.unit)
    head = Text(f"oomscope top: {amount}, {change} in {snapshot.since_s:.0f} s", style="bold", no_wrap=True)
    about = Text(
        f"from {snapshot.source} (read in {snapshot.took_s:.2f} s), by {snapshot.group_by}, sorted by {snapshot.sort}",
        style="dim",
        no_wrap=True,
        overflow="ellipsis",
    )
    shown = snapshot.rows[: max(height - _HEAD_ROWS - bool(note), 1)]
    foot = (Text(note, style="dim", no_wrap=True, overflow="ellipsis"),) if note else ()
    return Group(head, about, _table(snapshot, shown), *foot)


def as_json(snapshot: Snapshot, *, top: int | None = None) -> str:
    """One object on one line."""
    report: dict[str, Any] = {
        "schema": "oomscope-top/1",
        "source": snapshot.source,
        "unit": snapshot.unit,
        "by": snapshot.group_by,
        "since_s": round(snapshot.since_s, 3),
        "total": snapshot.total,
        "change": snapshot.total_change,
        "rows": [
            {
                "name": row.name,
                snapshot.unit: row.amount,
                "change": row.change,
                "per_s": round(row.per_s, 1),
                "share_of_ram": row.share_of_ram,
                "age_s": None if row.age_s is None else round(row.age_s, 1),
            }
            for row in snapshot.rows[:top]
        ],
    }
    return json.dumps(report, ensure_ascii=False) + "\n"


def _table(snapshot: Snapshot, rows: tuple[SnapshotRow, ...]) -> Table:
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", expand=False)
    tells_ages = any(row.age_s is not None for row in rows)
    for name in (snapshot.unit, "change", "per s", "of RAM", *(("age",) if tells_ages else ())):
        made.add_column(name, justify="right", no_wrap=True)
    made.add_column(snapshot.group_by, no_wrap=True, overflow="ellipsis")
    for row in rows:
        grows = "bold red" if row.per_s > 0 else ""
        made.add_row(
            Text(_amount(row.amount, snapshot.unit, short=True)),
            Text(_signed(row.change, snapshot.unit, short=True), style=grows),
            Text(_signed(round(row.per_s), snapshot.unit, short=True), style=grows),
            Text("" if row.share_of_ram is None else share_text(row.share_of_ram)),
            *((Text("" if row.age_s is None else duration_text(round(row.age_s * 1e9))),) if tells_ages else ()),
            Text(row.name),
        )
    return made


def _amount(amount: int, unit: str, *, short: bool = False) -> str:
    if unit == BYTES:
        return bytes_text(amount)
    return f"{amount:,}" if short else f"{amount:,} pages"


def _signed(amount: int, unit: str, *, short: bool = False) -> str:
    return f"{'-' if amount < 0 else '+'}{_amount(abs(amount), unit, short=short)}"
