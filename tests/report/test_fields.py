"""The table of fields against what real kernels print."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import oomscope
from oomscope.report.fields import fields, pieces

DATA = Path(__file__).parents[1] / "data"
# What a log has of a field after another CPU wrote into the line, or a mailer cut it; what only the parser calls so.
_OWN = {"pagecache pages", "swap cache pages", "free swap kib", "total swap kib", "on free lists"}
_SHARE = 0.98


def test_every_printed_field_has_its_row() -> None:
    """Of the corpus' reports and of the captured /proc/meminfo: all but names that were damaged."""
    known = {field.name for field in fields()}
    seen: Counter[str] = Counter()
    for path in sorted(p for folder in ("corpus", "lab", "reports") for p in (DATA / folder).rglob("*") if p.is_file()):
        try:
            evidence = oomscope.read(path)
        except oomscope.OomscopeError:
            continue
        for logged in evidence.events:
            event = logged.analysis.event
            for names in (event.counters, event.totals, *(z.kib for z in event.zones), *(n.kib for n in event.nodes)):
                seen.update(names)
        seen.update(() if evidence.meminfo is None else evidence.meminfo.kib)
    unknown = {name: count for name, count in seen.items() if name not in known | _OWN}
    assert sum(seen.values()) > 5_000
    assert sum(unknown.values()) < (1 - _SHARE) * sum(seen.values()), unknown


def test_a_line_in_pieces_is_the_line() -> None:
    """Whatever stands in it; and the fields are found where they stand."""
    line = "active_anon:33632 inactive_anon:1327714 isolated_anon:0 free:23902 free_pcp:1055 free_cma:0"
    assert "".join(text for text, _ in pieces(line)) == line
    named = [field.name for _, field in pieces(line) if field is not None]
    assert named == ["active_anon", "inactive_anon", "isolated_anon", "free", "free_pcp", "free_cma"]
    prose = "a free man on file, active in order"
    assert [field for _, field in pieces(prose) if field is not None] == []


def test_every_row_is_whole() -> None:
    """A name once for each place it is printed in, a meaning, and a kernel."""
    rows = fields()
    assert len({(row.name, row.where) for row in rows}) == len(rows) > 150
    assert all(row.meaning and row.since[0].isdigit() and row.text for row in rows)
