"""A triage for people: the answer first, then classes, clusters, failures; 80 columns."""

from __future__ import annotations

import io

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from oomscope.model.triage import Cluster, Triage
from oomscope.report.tables import console_to, show, table, title
from oomscope.report.triage_answer import amounts, failures, minute, sentence
from oomscope.units import counted

_REASONS_SHOWN = 10
_GONE_SHOWN = 10


def render(triage: Triage, *, top: int, colour: bool, width: int) -> str:
    """The report; `top` clusters are shown."""
    out = io.StringIO()
    console = console_to(out, colour=colour, width=width)
    console.print(Text(f"{sentence(triage)}.", style="bold"))
    if failed := failures(triage):
        console.print(f"{failed}.")
    _classes(console, triage)
    _clusters(console, triage, top)
    _since(console, triage)
    _failures(console, triage)
    for note in triage.notes:
        console.print(Padding(Text(note, style="dim"), (1, 0, 0, 0)))
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def _classes(console: Console, triage: Triage) -> None:
    title(console, f"{counted(triage.cases, 'case')} by class")
    shown = table(("cases", True), ("certain", True), ("class", False))
    for name, count, certain in triage.classes:
        shown.add_row(f"{count:,}", f"{certain:,}" if certain else "", name)
    show(console, shown)


def _clusters(console: Console, triage: Triage, top: int) -> None:
    if not triage.clusters:
        return
    title(console, f"Clusters: {min(top, len(triage.clusters)):,} of {len(triage.clusters):,}")
    for rank, cluster in enumerate(triage.clusters[:top], 1):
        head = Text(str(cluster.signature), style="bold")
        if cluster.is_new:
            head.append("  NEW", style="bold red")
        for number, wrapped in enumerate(head.wrap(console, console.width - 5)):
            console.print(Text("     " if number else f"{rank:>3}. ") + wrapped)
        for line in _about(cluster):
            console.print(Padding(Text(line), (0, 0, 0, 5)))


def _about(cluster: Cluster) -> list[str]:
    lines = [f"{amounts(cluster)} ({cluster.id})"]
    if cluster.first_seen is not None:
        first, last = minute(cluster.first_seen), minute(cluster.last_seen)
        lines.append(f"seen {first}" + ("" if first == last else f" to {last}"))
    if cluster.kernels:
        lines.append(f"kernel: {_counted(cluster.kernels, cluster.distinct_kernels)}")
    lines += [
        f"{name}: {_counted(all_, cluster.distinct_labels[name])}" for name, all_ in cluster.labels.items() if all_
    ]
    lines.append(f"clearest: {cluster.example}: {cluster.example_headline}")
    if cluster.example_next:
        lines.append(f"next: {cluster.example_next}")
    return lines


def _counted(values: tuple[tuple[str, int], ...], distinct: int) -> str:
    shown = ", ".join(value if count == 1 else f"{value} ({count:,})" for value, count in values[:3])
    return shown + (f" and {distinct - 3:,} more" if distinct > 3 else "")


def _since(console: Console, triage: Triage) -> None:
    if triage.since is None:
        return
    new = sum(1 for cluster in triage.clusters if cluster.is_new)
    title(console, f"Since {triage.since}")
    console.print(
        Padding(Text(f"{counted(new, 'cluster')} new, {len(triage.gone):,} without a case now"), (0, 0, 0, 2))
    )
    for name in triage.gone[:_GONE_SHOWN]:
        console.print(Padding(Text(f"gone: {name}"), (0, 0, 0, 2)))
    if len(triage.gone) > _GONE_SHOWN:
        console.print(f"  and {len(triage.gone) - _GONE_SHOWN:,} more (--format json has all)")


def _failures(console: Console, triage: Triage) -> None:
    if not triage.failures:
        return
    title(console, "Not explained")
    shown = table(("cases", True), ("why", False))
    for reason, count in triage.failures[:_REASONS_SHOWN]:
        shown.add_row(f"{count:,}", reason)
    show(console, shown)
    if len(triage.failures) > _REASONS_SHOWN:
        console.print(f"  and {len(triage.failures) - _REASONS_SHOWN:,} more reasons (--format json has all)")
