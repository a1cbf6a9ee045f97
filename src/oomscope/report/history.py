"""What memory did over many readings: a table with a sparkline each, and the same as JSON."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.text import Text

from oomscope.model.usage_sample import LEAST_READINGS, Grower, UsageSample
from oomscope.report.tables import console_to, show, table, title
from oomscope.units import bytes_text, counted, duration_text

SCHEMA = "oomscope-history/1"
_BLOCKS = "▁▂▃▄▅▆▇█"
_SPARK_COLUMNS = 24
_SHORT_S = 6 * 3600.0  # what was seen for less is no pace of a day
Series = Mapping[tuple[str, str], Sequence[tuple[float, int]]]


def headline(growers: Sequence[Grower], series: Series) -> str:
    """The fastest of those that grew, or that none did."""
    if growers:
        return growth_text(growers[0])
    readings = max((len(points) for points in series.values()), default=0)
    if readings < LEAST_READINGS:
        return f"too few readings to say what grows: {readings} of {LEAST_READINGS}"
    return f"nothing grew steadily over {counted(readings, 'reading')}"


def growth_text(grower: Grower) -> str:
    """`kmalloc-64 +1.2 GiB a day for 3.0 d, by X; out of memory in about 5.0 d`, then the account and its size."""
    is_short = grower.over_s < _SHORT_S
    pace = bytes_text(round(grower.bytes_per_day / 24 if is_short else grower.bytes_per_day))
    text = f"{grower.holder} +{pace} {'an hour' if is_short else 'a day'} for {duration_text(int(grower.over_s * 1e9))}"
    text += "" if grower.by is None else f", at the pace of {grower.by}"
    if grower.full_in_s is not None:
        text += f"; out of memory in about {duration_text(int(grower.full_in_s * 1e9))}"
    return f"{text} ({grower.account}, now {bytes_text(grower.now_bytes)})"


def sparkline(points: Sequence[tuple[float, int]]) -> str:
    """Heights from the least to the most of a series, each column the last of its share of the time."""
    if not points:
        return ""
    begin, end = points[0][0], points[-1][0]
    columns: dict[int, int] = {}
    for at, size in points:
        columns[int((at - begin) / (end - begin) * (_SPARK_COLUMNS - 1)) if end > begin else 0] = size
    least, most = min(columns.values()), max(columns.values())
    step = (most - least) / (len(_BLOCKS) - 1)
    return "".join(_BLOCKS[round((columns[at] - least) / step) if step else 0] for at in sorted(columns))


def render(series: Series, growers: Sequence[Grower], latest: UsageSample, *, top: int, width: int) -> str:
    """The answer, what grew, and what holds most by each account."""
    out = io.StringIO()
    console = console_to(out, colour=False, width=width)
    console.print(Text(headline(growers, series)), soft_wrap=True)
    for each in growers[1:top]:
        console.print(Text(growth_text(each)), soft_wrap=True)
    readings = max((len(points) for points in series.values()), default=0)
    begin = min((points[0][0] for points in series.values()), default=latest.at)
    console.print(
        Text(f"{counted(readings, 'reading')} from {_minute(begin)} to {_minute(latest.at)}, this boot; {_ram(latest)}")
    )
    for account in dict.fromkeys(account for account, _ in series):
        rows = sorted(
            ((points, holder) for (its, holder), points in series.items() if its == account and points),
            key=lambda row: -row[0][-1][1],
        )
        title(console, f"{account[:1].upper()}{account[1:]}: {min(top, len(rows))} of {len(rows):,}")
        made = table(("now", True), ("change", True), ("", False), ("", False))
        for points, holder in rows[:top]:
            change = points[-1][1] - points[0][1]
            signed = f"{'+' if change >= 0 else '-'}{bytes_text(abs(change))}"
            made.add_row(bytes_text(points[-1][1]), signed, sparkline(points), holder)
        show(console, made)
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def to_json(series: Series, growers: Sequence[Grower], latest: UsageSample, *, top: int) -> dict[str, Any]:
    """Plain values: what grew, and the greatest of each account, with all of their readings."""
    shown: dict[tuple[str, str], Sequence[tuple[float, int]]] = {}
    for account in dict.fromkeys(account for account, _ in series):
        rows = [(key, points) for key, points in series.items() if key[0] == account and points]
        shown |= dict(sorted(rows, key=lambda row: -row[1][-1][1])[:top])
    shown |= {(each.account, each.holder): series[(each.account, each.holder)] for each in growers}
    return {
        "schema": SCHEMA,
        "headline": headline(growers, series),
        "at": _time(latest.at),
        "ram_bytes": latest.ram_bytes,
        "available_bytes": latest.available_bytes,
        "unaccounted_bytes": latest.unaccounted_bytes,
        "grew": [
            {
                "account": each.account,
                "holder": each.holder,
                "bytes": each.now_bytes,
                "bytes_per_day": round(each.bytes_per_day),
                "over_s": round(each.over_s),
                "readings": each.readings,
                "rising": round(each.rising, 3),
                "by": each.by,
                "full_in_s": None if each.full_in_s is None else round(each.full_in_s),
                "text": growth_text(each),
            }
            for each in growers
        ],
        "series": [
            {
                "account": account,
                "holder": holder,
                "at": [_time(at) for at, _ in points],
                "bytes": [b for _, b in points],
            }
            for (account, holder), points in shown.items()
        ],
    }


def _ram(latest: UsageSample) -> str:
    free = "" if latest.available_bytes is None else f", {bytes_text(latest.available_bytes)} available"
    return f"RAM {bytes_text(latest.ram_bytes)}{free}"


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def _minute(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M")
