"""A triage as a page of the same look: the answer, cases over time, clusters with links to their cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from oomscope.model.triage import BY_FILE, Case, CaseResult, Cluster, Triage
from oomscope.report.page import MOST_ROWS, Cell, Link, Table, filled
from oomscope.report.triage_answer import amounts, failures, minute, sentence

MOST_CLUSTERS = 200
MOST_CASES = 100  # of a cluster; of the failed ones as many as a table has rows
_CLASSES_DRAWN = 8


@dataclass
class _Incident:
    """Cases of one file that are of one cluster: many kills in one log are one row."""

    number: int  # of its first case on the page
    name: str
    link: str
    case: Case
    count: int = 1
    seen: str | None = None
    last_seen: str | None = None


@dataclass
class _Shown:
    """A cluster and its incidents as far as they are shown, each with its number on the page."""

    cluster: Cluster
    incidents: list[_Incident] = field(default_factory=list)
    left_out: int = 0
    example_number: int = 0
    first_seen: str | None = None
    last_seen: str | None = None

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
    untimed = 0
    for number, case in enumerate(cases, 1):
        if case.cluster is None:
            if len(failed) < MOST_ROWS:
                failed.append(case)
            continue
        if (seen := _known(case)) is None:
            untimed += 1
        else:
            days.setdefault(seen[:10], Counter())[case.result.row.oom_class or ""] += 1
        if case.cluster in shown:
            _place(shown[case.cluster], number, case)
    return filled(
        "triage.html.j2",
        filters={"amounts": amounts, "minute": minute},
        title=sentence(triage),
        failed=failures(triage),
        facts=_facts(triage, made),
        pictures={"timeline": _timeline(days)} if len(days) > 1 else {},
        untimed=untimed,
        tables=_tables(triage, failed),
        clusters=list(shown.values()),
        triage=triage,
        new=sum(1 for cluster in triage.clusters if cluster.is_new),
    )


def _known(case: Case) -> str | None:
    """When it happened, by its log or the sidecar: when a file was written says nothing of it."""
    return None if case.seen_by == BY_FILE else case.seen


def _place(shown: _Shown, number: int, case: Case) -> None:
    name, seen = case.name.partition("#")[0], _known(case)
    if seen is not None:
        shown.first_seen = min(shown.first_seen or seen, seen)
        shown.last_seen = max(shown.last_seen or seen, seen)
    is_example = case.name == shown.cluster.example
    last = shown.incidents[-1] if shown.incidents else None
    if last is not None and last.name == name:
        last.count += 1
        last.last_seen = seen or last.last_seen
        if is_example:
            shown.example_number = last.number
        return
    if is_example:
        shown.example_number = number
    if len(shown.incidents) < MOST_CASES or is_example:
        kept = replace(case, result=CaseResult(case.result.row))
        shown.incidents.append(_Incident(number, name, case.link, kept, seen=seen, last_seen=seen))
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
