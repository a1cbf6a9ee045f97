"""A triage as a page of the same look: the answer, cases over time, clusters with links to their cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from oomscope.model.triage import Case, CaseResult, Cluster, Triage
from oomscope.report.page import MOST_ROWS, Cell, Link, Table, filled
from oomscope.report.triage_answer import amounts, failures, minute, sentence

MOST_CLUSTERS = 200
MOST_CASES = 100  # of a cluster; of the failed ones as many as a table has rows
_CLASSES_DRAWN = 8


@dataclass
class _Shown:
    """A cluster and its cases as far as they are shown, each with its number on the page."""

    cluster: Cluster
    cases: list[tuple[int, Case]] = field(default_factory=list)
    left_out: int = 0
    example_number: int = 0

    @property
    def values(self) -> list[tuple[str, tuple[tuple[str, int], ...]]]:
        """What is counted by value, under its name."""
        cluster = self.cluster
        return [("kernel", cluster.kernels), *cluster.labels.items(), ("answered by", cluster.answered_by)]


def render(triage: Triage, cases: Iterable[Case], *, made: str) -> str:
    """The page. Raises NotOffered where the extra is not installed."""
    shown = {cluster.id: _Shown(cluster) for cluster in triage.clusters[:MOST_CLUSTERS]}
    failed: list[Case] = []
    days: dict[str, Counter[str]] = {}
    for number, case in enumerate(cases, 1):
        if case.cluster is None:
            if len(failed) < MOST_ROWS:
                failed.append(case)
            continue
        if case.seen is not None:
            days.setdefault(case.seen[:10], Counter())[case.result.row.oom_class or ""] += 1
        if case.cluster in shown:
            _place(shown[case.cluster], number, case)
    return filled(
        "triage.html.j2",
        filters={"amounts": amounts, "minute": minute},
        title=sentence(triage),
        failed=failures(triage),
        facts=_facts(triage, made),
        pictures={"timeline": _timeline(days)} if len(days) > 1 else {},
        tables=_tables(triage, failed),
        clusters=list(shown.values()),
        triage=triage,
        new=sum(1 for cluster in triage.clusters if cluster.is_new),
    )


def _place(shown: _Shown, number: int, case: Case) -> None:
    is_example = case.name == shown.cluster.example
    if is_example:
        shown.example_number = number
    if len(shown.cases) < MOST_CASES or is_example:
        shown.cases.append((number, replace(case, result=CaseResult(case.result.row))))
    else:
        shown.left_out += 1


def _facts(triage: Triage, made: str) -> list[tuple[str, str]]:
    seen = [time for c in triage.clusters for time in (c.first_seen, c.last_seen) if time is not None]
    return [
        ("cases", f"{triage.cases:,}"),
        ("clusters", f"{len(triage.clusters):,}"),
        ("kernels", f"{triage.kernels:,}"),
        ("seen", f"{minute(min(seen))} to {minute(max(seen))}" if seen else ""),
        ("made", minute(made)),
    ]


def _tables(triage: Triage, failed: list[Case]) -> list[Table]:
    note = "" if triage.failed <= len(failed) else f"the first of {triage.failed:,}: --format json has all"
    cut = "" if len(triage.clusters) <= MOST_CLUSTERS else f"the first {MOST_CLUSTERS} are described below"
    found = [
        Table("Classes", ("class", "cases", "certain"), [list(row) for row in triage.classes]),
        _glance(triage, note=cut),
        Table(
            "Not explained",
            ("case", "why", "exit code"),
            [[case.name, case.result.row.failure, case.result.row.exit_code] for case in failed],
            note=note,
        ),
    ]
    return [table for table in found if table.rows]


def _glance(triage: Triage, *, note: str) -> Table:
    """A row for each cluster, which leads to what is said of it; columns that no row fills are left out."""
    rows: list[dict[str, Cell]] = [
        {
            "class": c.signature.oom_class,
            "culprit": c.signature.culprit,
            "module": c.signature.module,
            "trigger": c.signature.trigger,
            "cases": c.cases,
            "inputs": c.inputs,
            "pages": c.pages,
            "first seen": minute(c.first_seen),
            "last seen": minute(c.last_seen),
            "since": "new" if c.is_new else "",
            "": Link(f"#cluster-{c.id}", c.id) if at < MOST_CLUSTERS else c.id,
        }
        for at, c in enumerate(triage.clusters[:MOST_ROWS])
    ]
    columns = [name for name in (rows[0] if rows else {}) if any(row[name] for row in rows)]
    return Table("Clusters at a glance", tuple(columns), ([row[name] for name in columns] for row in rows), note=note)


def _timeline(days: dict[str, Counter[str]]) -> dict[str, Any]:
    """Cases by day, a series for each of the most frequent classes and one for the others."""
    names = sorted(days)
    total: Counter[str] = sum(days.values(), Counter())
    classes = [name for name, _ in sorted(total.items(), key=lambda pair: (-pair[1], pair[0]))]
    series = [{"name": name, "cases": [days[day][name] for day in names]} for name in classes[:_CLASSES_DRAWN]]
    if others := classes[_CLASSES_DRAWN:]:
        series.append({"name": "others", "cases": [sum(days[day][name] for name in others) for day in names]})
    return {"days": names, "series": series}
