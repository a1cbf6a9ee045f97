"""The verdict for people: the answer first, as wide as is asked for, colour where the terminal has it."""

from __future__ import annotations

import io
from collections.abc import Iterable

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from oomscope.model.balance import Balance, BalanceRow
from oomscope.model.batch import Place, Request, Task
from oomscope.model.holding import (
    BALLOON,
    EARLY,
    HUGETLB,
    KERNEL,
    KERNEL_STACKS,
    LARGE_KMALLOC,
    PAGE_CACHE,
    PAGE_TABLES,
    SLAB,
    UNTRACKED,
    USER,
    Holding,
    HoldingDetail,
)
from oomscope.model.ranked import Consumer
from oomscope.model.verdict import Verdict, WitnessReport
from oomscope.report import accounts, oom_text
from oomscope.report.cells import PARTS_SHOWN, kind_with_parts, machine, page_bytes_of, share_of_ram
from oomscope.report.tables import console_to, show, table, title
from oomscope.units import bytes_text, duration_text, pages_text, size_text, uptime_text

WIDTH = 80
_KIND_TEXTS = {
    KERNEL: "kernel: taken with alloc_pages or vmalloc, not counted in an OOM report",
    SLAB: "slab: this path grew the cache; who holds the objects may be another",
    USER: "user: memory of processes",
    PAGE_CACHE: "page cache, tmpfs and shared memory",
    HUGETLB: "hugetlb: pools of huge pages, in use or not",
    LARGE_KMALLOC: "large-kmalloc: whole pages by kmalloc, which an OOM report counts as slab",
    PAGE_TABLES: "page-tables: counted as such in an OOM report",
    KERNEL_STACKS: "kernel-stacks: of threads, counted as such in an OOM report",
    BALLOON: "balloon: given back to the host, which is no part of RAM meanwhile",
    EARLY: "allocated before page_owner started",
    UNTRACKED: "allocated, with no stack on record",
}
_LABEL_TEXTS = {
    "early": "early: allocated before page_owner started",
    "dummy": "dummy: page_owner's own, while storing a stack",
    "failure": "failure: the stack depot was full, the stack is lost",
}
_CERTAINTY_STYLES = {"certain": "bold green", "likely": "bold yellow", "possible": "bold"}
_ABSENT_SHOWN = 12


def render(verdict: Verdict, *, top: int = 10, colour: bool = False, width: int = WIDTH) -> str:
    """The report as text; `colour` adds terminal escapes of our own, never of the input's."""
    out = io.StringIO()
    console = console_to(out, colour=colour, width=width)
    oom, answer = verdict.oom, verdict.answer
    console.print(Text.assemble((answer.who, "bold red"), (answer.text, "bold")))
    if answer.second:
        console.print(Text(answer.second))
    if verdict.selection_note is not None:
        console.print(f"  ({verdict.selection_note})", style="dim")
    if oom is not None and answer.paragraph:
        oom_text.story(console, oom, answer, machine(verdict))
    if verdict.greatest is not None:
        _greatest_stack(console, verdict, verdict.greatest)
    elif not answer.paragraph:
        _no_stack(console, verdict, top)
    if verdict.groups_by is not None:
        _groups(console, verdict, top)
    else:
        _consumers(console, verdict, top)
        _culprits(console, verdict, top)
        _excepted(console, verdict)
        if verdict.balance is not None:
            _balance(console, verdict.balance, page_bytes_of(verdict))
        if oom is not None and oom.analysis is not None:
            oom_text.details(console, oom.analysis)
        accounts.accounts(console, verdict, top)
        for witness in verdict.witnesses:
            _witness(console, witness)
    oom_text.events(console, verdict.events, None if oom is None else oom.number)
    _findings(console, verdict)
    _machine(console, verdict)
    _absent(console, verdict)
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def _greatest_stack(console: Console, verdict: Verdict, consumer: Consumer) -> None:
    console.print()
    console.print(Text(f"OOM: greatest memory consumer: {consumer.pages} pages are allocated from:"), soft_wrap=True)
    holding = consumer.holding
    for index, frame in enumerate(holding.stack.frames):
        is_culprit = index == holding.culprit_index
        line = Text(f" {frame.text}", style="bold red" if is_culprit else "")
        if is_culprit:
            where = "" if frame.source is None else f", {frame.source}"
            line.append(f"   <- culprit{where}", style="red")
        console.print(line, soft_wrap=True)
    if not holding.stack.frames:
        console.print(f" handle: {holding.stack.handle}")
    console.print()
    _facts(console, (*_size_if_usual(verdict, consumer), *_facts_of(consumer)))
    kernel = verdict.greatest_kernel
    if kernel is not None and kernel is not consumer:
        console.print()
        text = f"Greatest kernel consumer: {kernel.holding.name}, {kernel.amount}"
        console.print(Text(text, style="bold"), soft_wrap=True)


def _no_stack(console: Console, verdict: Verdict, top: int) -> None:
    if verdict.most_allocations:
        console.print()
        for frame in verdict.most_allocations[0].stack.texts:
            console.print(Text(f" {frame}"), soft_wrap=True)
        console.print()
        if verdict.groups_by is not None:
            return
        rows_shown = table(("allocations", True), ("culprit", False))
        for holding in verdict.most_allocations[:top]:
            rows_shown.add_row(f"{holding.blocks:,}", holding.name)
        console.print(rows_shown)
    elif verdict.findings and not verdict.counted_stacks:
        console.print(Text(f"Next: {verdict.answer.next}"))


def _size_if_usual(verdict: Verdict, consumer: Consumer) -> Iterable[tuple[str, str]]:
    """What the pages would be in bytes, where nothing proves how large a page is."""
    size_bytes = verdict.kernel.page_size_assumed_bytes
    if consumer.size_bytes is None and size_bytes is not None:
        yield "size", f"{bytes_text(consumer.pages * size_bytes)} if pages have {size_bytes // 1024} KiB, as is usual"


def _facts_of(consumer: Consumer) -> Iterable[tuple[str, str]]:
    yield "kind", _KIND_TEXTS[consumer.holding.kind]
    if consumer.holding.culprit is not None and consumer.holding.culprit.subsystem is not None:
        yield "subsystem", consumer.holding.culprit.subsystem
    detail = consumer.detail
    if detail is not None:
        yield from _detail_facts(consumer.holding, detail)
    if consumer.growth is not None:
        yield "growth", consumer.growth
    if consumer.recent is not None and consumer.recent.pages:
        recent = consumer.recent
        rate = f"{recent.pages_per_s:,.0f} pages/s"
        yield "lately", f"{pages_text(recent.pages)} in the last {duration_text(recent.interval_ns)}, {rate}"


def _detail_facts(holding: Holding, detail: HoldingDetail) -> Iterable[tuple[str, str]]:
    if holding.blocks is not None:
        orders = ", ".join(f"{part.blocks:,} of order {order}" for order, part in detail.orders[:PARTS_SHOWN])
        yield "blocks", orders or f"{holding.blocks:,}"
    for name, parts in (
        ("gfp", [(_request(request), part) for request, part in detail.requests]),
        (
            "tasks",
            [(_task(task), part) for task, part in detail.tasks if task.comm is not None or task.pid is not None],
        ),
        ("places", [(_place(place), part) for place, part in detail.places if _place(place)]),
        ("memcgs", [(memcg, part) for memcg, part in detail.memcgs if memcg is not None]),
    ):
        if parts:
            shown = ", ".join(f"{text} {part.pages:,}" for text, part in parts[:PARTS_SHOWN])
            yield name, shown + (", ..." if len(parts) > PARTS_SHOWN else "")


def _request(request: Request) -> str:
    return f"{request.gfp_mask:#x}({request.gfp_flags})"


def _task(task: Task) -> str:
    return f"pid {task.pid}" if task.comm is None else f"{task.comm} (pid {task.pid})"


def _place(place: Place) -> str:
    return " ".join(f"{name} {i}" for name, i in (("node", place.node), ("zone", place.zone)) if i is not None)


def _facts(console: Console, facts: Iterable[tuple[str, str]]) -> None:
    rows_shown = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    rows_shown.add_column(style="dim", no_wrap=True)
    rows_shown.add_column(overflow="fold")
    for name, text in facts:
        rows_shown.add_row(name, text)
    show(console, rows_shown)


def _consumers(console: Console, verdict: Verdict, top: int) -> None:
    if len(verdict.consumers) < 2:
        return
    counted = "" if verdict.counted_pages is None else f" ({pages_text(verdict.counted_pages)} in all)"
    title(console, f"Stacks: {min(top, len(verdict.consumers))} of {verdict.counted_stacks:,}{counted}")
    rows_shown = table(("pages", True), ("of RAM", True), ("kind", False), ("culprit", False))
    for consumer in verdict.consumers[:top]:
        rows_shown.add_row(
            f"{consumer.pages:,}", share_of_ram(consumer.share_of_ram), consumer.holding.kind, consumer.holding.name
        )
    show(console, rows_shown)


def _culprits(console: Console, verdict: Verdict, top: int) -> None:
    if not verdict.culprits:
        return
    title(
        console, f"Culprits, all their stacks together: {min(top, len(verdict.culprits))} of {len(verdict.culprits):,}"
    )
    rows_shown = table(("pages", True), ("of RAM", True), ("stacks", True), ("culprit", False), ("growth", False))
    for row in verdict.culprits[:top]:
        rows_shown.add_row(
            f"{row.pages:,}", share_of_ram(row.share_of_ram), f"{row.stacks:,}", str(row.culprit), _in_short(row.growth)
        )
    show(console, rows_shown)


def _excepted(console: Console, verdict: Verdict) -> None:
    if not verdict.excepted:
        return
    title(console, "Not named")
    rows_shown = table(("pages", True), ("what they are", False))
    for consumer in verdict.excepted:
        rows_shown.add_row(f"{consumer.pages:,}", _LABEL_TEXTS.get(consumer.holding.label or "", consumer.holding.kind))
    show(console, rows_shown)


def _balance(console: Console, balance: Balance, page_bytes: int | None) -> None:
    title(console, f"Where RAM is: {size_text(balance.ram_pages, page_bytes)}")
    has_lines = any(row.source for row in balance.rows)
    sizes = () if page_bytes is None else (("size", True),)
    lines = (("from", False),) if has_lines else ()
    rows_shown = table(*sizes, ("pages", True), ("of RAM", True), ("kind", False), *lines)
    rest = "unexplained" if balance.is_consistent else "counted twice or moved"
    last = BalanceRow(rest, balance.unexplained_pages, balance.unexplained_parts)
    for row in (*balance.rows, last):
        line = (row.source,) if has_lines else ()
        in_bytes = () if page_bytes is None else (bytes_text(row.pages * page_bytes),)
        share = share_of_ram(row.pages / balance.ram_pages)
        rows_shown.add_row(*in_bytes, f"{row.pages:,}", share, kind_with_parts(row), *line)
    show(console, rows_shown)
    for note in balance.notes:
        console.print(Padding(Text(note, style="dim"), (0, 0, 0, 2)))


def _machine(console: Console, verdict: Verdict) -> None:
    """What kernel memory tells of its machine."""
    system, kernel = verdict.system, verdict.kernel
    if system is None:
        return
    title(console, "The machine")
    release = kernel.release if isinstance(kernel.release, str) else "release not known"
    modules = ", ".join(system.modules)
    if system.last_unloaded_module is not None:
        modules += f" (last unloaded: {system.last_unloaded_module})"
    arch = kernel.arch if isinstance(kernel.arch, str) else "architecture not known"
    facts = [
        ("kernel", f"{release} {arch}, pages of {bytes_text(system.page_size_bytes)}"),
        ("panic", system.panic_message or ""),
        ("command line", system.command_line or ""),
        ("taint", system.taint),
        ("modules", modules),
    ]
    _facts(console, [(name, text) for name, text in facts if text])


def _witness(console: Console, witness: WitnessReport) -> None:
    difference = witness.ours - witness.theirs
    title(console, f"Witness: {witness.origin}")
    there = f"{witness.theirs:,} {witness.unit} there, {witness.ours:,} in {witness.witness_of}"
    if not witness.parts:
        console.print(Padding(Text(f"{there}, stack by stack"), (0, 0, 0, 2)))
        return
    console.print(Padding(Text(f"{there}; the difference of {difference:+,} is"), (0, 0, 0, 2)))
    rows_shown = table((witness.unit, True), ("why", False))
    for part in witness.parts:
        rows_shown.add_row(f"{part.amount:+,}", f"{part.name}: {part.stacks}")
    show(console, rows_shown)


def _groups(console: Console, verdict: Verdict, top: int) -> None:
    title(console, f"By {verdict.groups_by}: {min(top, len(verdict.groups))} of {len(verdict.groups):,}")
    rows_shown = table(
        ("pages", True), ("of RAM", True), ("blocks", True), ("stacks", True), ("first", True), ("last", True),
        (verdict.groups_by or "", False),
    )  # fmt: skip
    for group in verdict.groups[:top]:
        share = group.pages / verdict.ram_pages if group.pages is not None and verdict.ram_pages else None
        rows_shown.add_row(
            _number(group.pages),
            share_of_ram(share),
            _number(group.blocks),
            _number(group.stacks),
            _time(group.first_ns),
            _time(group.last_ns),
            group.name,
        )
    show(console, rows_shown)


def _findings(console: Console, verdict: Verdict) -> None:
    """What the answer above says already is not said again: only what it rests on."""
    if not verdict.findings:
        return
    answer = verdict.answer
    above = " ".join((answer.headline, *answer.paragraph)).lower()
    title(console, "Findings")
    for finding in verdict.findings:
        line = Text()
        line.append(f"{finding.certainty}", style=_CERTAINTY_STYLES[finding.certainty])
        line.append(": as above" if finding.claim.lower() in above else f": {finding.claim}")
        console.print(Padding(line, (0, 0, 0, 2)))
        for reason in finding.because:
            console.print(Padding(Text(f"because {reason}", style="dim"), (0, 0, 0, 4)))
        if finding.next != answer.next:
            console.print(Padding(Text(f"next: {finding.next}"), (0, 0, 0, 4)))


def _absent(console: Console, verdict: Verdict) -> None:
    if not verdict.absent:
        return
    title(console, "Not known")
    for absent in verdict.absent[:_ABSENT_SHOWN]:
        console.print(Padding(Text(f"{absent.what}: {absent.reason}"), (0, 0, 0, 2)))
    if len(verdict.absent) > _ABSENT_SHOWN:
        console.print(f"  and {len(verdict.absent) - _ABSENT_SHOWN} more (--format json has all)")


def _in_short(growth: str | None) -> str:
    """The clause up to where it gives times and meaning, for a narrow column."""
    return "" if growth is None else growth.partition(" (")[0].partition(", ")[0]


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _time(value_ns: int | None) -> str:
    return "" if value_ns is None else uptime_text(value_ns)
