"""The OOM event for people: the first paragraph, and the details behind it."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from oomscope.model.answer import Answer
from oomscope.model.oom_analysis import OomAnalysis, ZoneCheck
from oomscope.model.oom_event import NOT_IN_RAM, own_pages
from oomscope.model.verdict import EventLine, Oom
from oomscope.report.tables import show, table, title
from oomscope.units import bytes_text, uptime_text

_ROWS = 8
_EVENTS_SHOWN = 20


def story(console: Console, oom: Oom, answer: Answer, facts: str) -> None:
    """The class, the machine, the paragraph, and what to do right under it."""
    head = Text()
    head.append(f"OOM class: {answer.oom_class}", style="bold red")
    event = None if oom.analysis is None else oom.analysis.event
    if event is not None and event.killer is not None and event.victims:
        head.append(f" ({event.killer.name} acted, not the kernel's OOM killer)")
    elif answer.certainty:
        head.append(f" ({answer.certainty})")
    if oom.also:
        head.append(f", also {', '.join(oom.also)}")
    console.print(head)
    if facts:
        console.print(Text(facts, style="dim"))
    console.print()
    console.print(Text(" ".join(answer.paragraph)))
    console.print()
    line = Text("Next: ", style="bold")
    line.append(answer.next, style="not bold")
    console.print(line)


def events(console: Console, lines: tuple[EventLine, ...], chosen: int | None) -> None:
    """Every event of the log in a line; the one explained is marked."""
    if len(lines) < 2:
        return
    title(console, f"{len(lines):,} events in the log" + ("s" if len({line.origin for line in lines}) > 1 else ""))
    shown = lines if len(lines) <= _EVENTS_SHOWN else lines[-_EVENTS_SHOWN:]
    if len(shown) < len(lines):
        console.print(f"  {len(lines) - len(shown):,} earlier ones are left out here (--format json has them all)")
    files = {line.origin for line in lines}
    where: list[tuple[str, bool]] = [("file", False)] if len(files) > 1 else []
    rows = table(("", True), *where, ("line", True), ("when", False), ("class", False), ("what", False))
    for line in shown:
        of_file = [_file_name(line.origin)] if where else []
        mark = f"> {line.number}" if line.number == chosen else f"{line.number}"
        when = line.stamp or ("" if line.at_ns is None else uptime_text(line.at_ns))
        rows.add_row(mark, *of_file, f"{line.line:,}", when, line.oom_class, line.text)
    show(console, rows)
    console.print("  --event N explains another one, --all every one.")


def _file_name(origin: str) -> str:
    """The last part of a path, and the member's of an archive: what tells two files apart in a narrow column."""
    return origin.rsplit("/", 1)[-1]


def details(console: Console, analysis: OomAnalysis) -> None:
    """Zones against the request, processes, slab caches, call sites, the memory cgroup."""
    event = analysis.event
    if analysis.zones:
        _zones(console, analysis)
    if event.processes:
        _processes(console, analysis)
    if event.slab_caches:
        ranked = sorted(event.slab_caches, key=lambda cache: -cache.total_kib)
        title(console, f"Unreclaimable slab caches: {min(_ROWS, len(ranked))} of {len(ranked):,}")
        rows = table(("total", True), ("used", True), ("cache", False))
        for cache in ranked[:_ROWS]:
            rows.add_row(bytes_text(cache.total_kib * 1024), bytes_text(cache.used_kib * 1024), cache.name)
        show(console, rows)
    if event.call_sites:
        title(console, "Allocation profiling (slab pages count twice: as pages and as their objects)")
        rows = table(("bytes", True), ("calls", True), ("call site", False))
        for site in event.call_sites[:_ROWS]:
            module = "" if site.module is None else f" [{site.module}]"
            rows.add_row(bytes_text(site.size_bytes), f"{site.calls:,}", f"{site.function}{module} {site.place}")
        show(console, rows)
    if event.memcg is not None and event.memcg.stat:
        title(console, f"In {event.memcg.path or 'the memory cgroup'}")
        rows = table(("bytes", True), ("memory.stat", False))
        in_ram = [(name, size) for name, size in event.memcg.stat.items() if name not in NOT_IN_RAM]
        for name, size in sorted(in_ram, key=lambda pair: -pair[1])[:_ROWS]:
            rows.add_row(bytes_text(size), name)
        show(console, rows)


def _zones(console: Console, analysis: OomAnalysis) -> None:
    title(console, "Zones against the request, in pages")
    rows = table(
        ("free", True), ("usable", True), ("needed", True), ("managed", True), ("fitting", True), ("zone", False)
    )
    for check in analysis.zones:
        rows.add_row(
            _number(check.free_pages),
            _number(check.usable_pages),
            _number(check.needed_pages),
            _number(check.managed_pages),
            _number(check.fitting_blocks),
            f"{check.zone.title}{_verdict_on(check)}",
        )
    show(console, rows)


def _verdict_on(check: ZoneCheck) -> str:
    if not check.is_allowed:
        return ": not for this request"
    if check.passes is None:
        return ""
    if not check.passes:
        return ": below the watermark"
    return ": no block large enough" if check.has_block is False else ": above the watermark"


def _processes(console: Console, analysis: OomAnalysis) -> None:
    event, page_bytes = analysis.event, analysis.page_bytes
    scores = {score.process.pid: f"{score.per_mille:,}" for score in analysis.scores}
    ranked = sorted(event.processes, key=lambda process: -own_pages(process))
    title(console, f"Processes: {min(_ROWS, len(ranked))} of {len(ranked):,}")
    has_anon = any("rss_anon" in process.values for process in ranked)
    own = "anon" if has_anon else "rss"
    rows = table((own, True), ("swap", True), ("score", True), ("adj", True), ("pid", True), ("name", False))
    victims = {victim.pid for victim in event.victims}
    for process in ranked[:_ROWS]:
        swap = process.values.get("swapents")
        adj = process.values.get("oom_score_adj")
        rows.add_row(
            _size(own_pages(process), page_bytes),
            "" if not swap else _size(swap, page_bytes),
            scores.get(process.pid, ""),
            "" if adj is None else str(adj),
            str(process.pid),
            process.comm + ("   <- killed" if process.pid in victims else ""),
        )
    show(console, rows)


def _size(pages: int, page_bytes: int | None) -> str:
    return f"{pages:,} pages" if page_bytes is None else bytes_text(pages * page_bytes)


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"
