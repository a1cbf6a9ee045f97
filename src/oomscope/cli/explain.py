"""`oomscope explain`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import click

from oomscope.errors import BadQuestion
from oomscope.units import parse_duration_ns

if TYPE_CHECKING:
    from oomscope.attribution.selection import Selection
    from oomscope.model.verdict import Verdict

# Repeated here so that --help needs neither NumPy nor the library; a test holds them against it.
PROPERTIES = ("stack", "culprit", "module", "kind", "comm", "pid", "tgid", "gfp", "order", "node", "zone", "memcg")
SORTS = ("pages", "blocks", "age", "name")
KINDS = (
    *("kernel", "slab", "large-kmalloc", "user", "page-cache", "hugetlb", "page-tables", "kernel-stacks"),
    *("balloon", "early", "untracked"),
)
_RULE = 80
FORMATS = ("text", "short", "markdown", "kernel", "json", "html")
_DEFAULT_TOP = {"text": 10, "short": 1, "markdown": 10, "kernel": 1, "json": None, "html": None}


class Duration(click.ParamType[Any]):
    """A time as people write it, in nanoseconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """See click.ParamType."""
        try:
            return parse_duration_ns(str(value))
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no time; write seconds since boot, or 90min, 3h, 2d, 100ms", param, ctx)


class _Numbers(click.ParamType[Any]):
    name = "n[,n]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> frozenset[int]:
        try:
            return frozenset(int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is no list of whole numbers", param, ctx)


class _Names(click.ParamType[Any]):
    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> frozenset[str]:  # noqa: ARG002
        return frozenset([str(value)])


class _OneOf(click.Choice[str]):
    """A choice as a set of one, so that repeated options come together like the others."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return frozenset([super().convert(value, param, ctx)])


def _union(_: click.Context, __: click.Parameter, values: tuple[frozenset[Any], ...]) -> frozenset[Any]:
    return frozenset().union(*values)


def _filter(name: str, kind: click.ParamType[Any], text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(name, type=kind, multiple=True, callback=_union, help=text)


@click.command()
@click.argument("paths", nargs=-1, metavar="PATH...")
@click.option("--live", is_flag=True, help="This machine: its memory (/proc/kcore), else debugfs and /proc.")
@click.option("--last-crash", is_flag=True, help="What the previous boot left: pstore, /var/crash, the journal.")
@click.option("--cgroup", help="A memory cgroup of this machine, by its path below /sys/fs/cgroup; no root needed.")
@click.option("--vmlinux", type=click.Path(dir_okay=False), help="Debug info of the kernel that a core dump is of.")
@click.option("--format", "form", type=click.Choice(FORMATS), help="How to show it.  [text, or what -o's name tells]")
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="Write to this file: .html, .json, .md or any.")
@click.option("--top", type=click.IntRange(1), help="How many rows or stacks to show.  [text 10, kernel 1, json all]")
@click.option("--by", type=click.Choice(PROPERTIES), help="Group holdings by this.")
@click.option("--sort", type=click.Choice(SORTS), default="pages", show_default=True, help="Order of the groups.")
@_filter("--pid", _Numbers(), "Only what these processes allocated; may be repeated.")
@_filter("--tgid", _Numbers(), "Only what these thread groups allocated.")
@_filter("--comm", _Names(), "Only what tasks of this name allocated.")
@_filter("--module", _Names(), "Only what this module answers for (vmlinux: built-in code).")
@_filter("--gfp", _Names(), "Only requests with all these flags, e.g. GFP_KERNEL|__GFP_ZERO, or this mask, e.g. 0xcc0.")
@_filter("--order", _Numbers(), "Only blocks of these orders.")
@_filter("--node", _Numbers(), "Only pages on these NUMA nodes.")
@_filter("--kind", _OneOf(KINDS), "Only this kind of memory.")
@click.option("--since", type=Duration(), help="Only what was allocated at or after this time since boot.")
@click.option("--until", type=Duration(), help="Only what was allocated at or before this time since boot.")
@click.option("--min-pages", type=click.IntRange(0), default=0, help="Leave out what holds fewer pages.")
@click.option("--event", type=click.IntRange(1), help="Of a log with several OOMs, explain this one.  [the last]")
@click.option("--all", "every_event", is_flag=True, help="Explain every OOM of the log.")
@click.option("--page-size", type=click.Choice(["4096", "16384", "65536"]), help="In bytes, if the input lacks it.")
@click.option("--no-color", is_flag=True, help="No colour (NO_COLOR is honoured too).")
def explain(
    paths: tuple[str, ...],
    live: bool,
    last_crash: bool,
    cgroup: str | None,
    vmlinux: str | None,
    form: str | None,
    output: str | None,
    top: int | None,
    by: str | None,
    sort: str,
    min_pages: int,
    event: int | None,
    every_event: bool,
    page_size: str | None,
    no_color: bool,
    **filters: Any,
) -> None:
    """Say who ate the memory: from a kernel log with an OOM report, a core dump, page_owner text, page_owner_stacks,
    meminfo beside them; plain or compressed, files or directories of one machine, - for standard input.

    \b
    oomscope explain console.log
    oomscope explain page_owner.txt meminfo
    oomscope explain vmcore
    oomscope explain case/ --format json
    zstdcat page_owner.zst | oomscope explain - --format kernel
    oomscope explain page_owner.txt --by comm --node 1 --since 2h
    """  # noqa: D205, D301 - a help text; click knows the backspace
    from oomscope.cli import output as outputs
    from oomscope.cli.forms import chosen
    from oomscope.cli.progress import progress_bar
    from oomscope.host import last_crash as crashes
    from oomscope.pipeline.api import explain as explain_paths
    from oomscope.verdict import Question

    if not paths and not live and not last_crash and cgroup is None:
        raise click.UsageError("Missing argument 'PATH...' (or --live, --last-crash, or --cgroup).")
    if cgroup is not None:
        from oomscope.host.memory_cgroup import files_of

        paths = (*paths, *files_of(cgroup))
    output = outputs.place(output)
    form = chosen(form, output, FORMATS)
    outputs.require(output, form)
    if by is None and sort != "pages":
        raise BadQuestion("--sort goes with --by: it orders the groups")
    selection = _selection(filters)
    page_size_bytes = None if page_size is None else int(page_size)
    if every_event:
        if event is not None or live or by is not None or min_pages or vmlinux is not None or not selection.is_empty:
            raise BadQuestion(
                "--all goes with logs alone: no --event, --live, --by, --min-pages, --vmlinux, nor filters"
            )
        from oomscope.pipeline.api import explain_events

        with crashes.last_crash() if last_crash else nullcontext(()) as left, progress_bar() as progress:
            verdicts = explain_events(*paths, *left, page_size_bytes=page_size_bytes, progress=progress)
        _show(verdicts, form, output, top, no_color=no_color)
        return
    with crashes.last_crash() if last_crash else nullcontext(()) as left, progress_bar() as progress:
        verdict = explain_paths(
            *paths,
            *left,
            selection=selection,
            question=Question(by=by, sort=sort, min_pages=min_pages, event=event),
            ranking_only=form == "kernel" and by is None and not selection.asks_of_records,
            page_size_bytes=page_size_bytes,
            vmlinux=vmlinux,
            live=live,
            progress=progress,
        )
    for option, why in _meaningless(
        verdict,
        asks_of_stacks=not selection.is_empty or bool(min_pages),
        page_size_bytes=page_size_bytes,
        vmlinux=vmlinux,
    ):
        click.echo(f"oomscope: {option} changed nothing: {why}", err=True)
    _show([verdict], form, output, top, no_color=no_color, is_one=True)


def _meaningless(
    verdict: Verdict, *, asks_of_stacks: bool, page_size_bytes: int | None, vmlinux: str | None
) -> Iterator[tuple[str, str]]:
    """Options that were given and mean nothing for this input, each with the reason."""
    if asks_of_stacks and not verdict.counted_stacks and not verdict.selection_note:
        yield "the filter", "it chooses among stacks, and this input has none"
    analysis = None if verdict.oom is None else verdict.oom.analysis
    told = None if analysis is None or analysis.event.page_kib is None else analysis.event.page_kib * 1024
    if page_size_bytes is not None and told is not None and told != page_size_bytes:
        yield "--page-size", f"the report's own numbers show pages of {told:,} bytes"
    if vmlinux is not None and not any(each.format == "kernel memory" for each in verdict.inputs):
        yield "--vmlinux", "no input is a core dump"


def _selection(filters: dict[str, Any]) -> Selection:
    from oomscope.attribution.selection import Selection

    since_ns, until_ns = filters["since"], filters["until"]
    if since_ns is not None and until_ns is not None and since_ns > until_ns:
        raise BadQuestion("--since is after --until")
    return Selection(
        pids=filters["pid"],
        tgids=filters["tgid"],
        comms=filters["comm"],
        modules=filters["module"],
        gfp_flags=frozenset(_gfp_flag(flag) for text in filters["gfp"] for flag in text.split("|")),
        orders=filters["order"],
        nodes=filters["node"],
        kinds=filters["kind"],
        since_ns=since_ns,
        until_ns=until_ns,
    )


def _gfp_flag(text: str) -> str:
    """A flag as the kernel writes it, or a mask as 0x..."""
    flag = text.strip()
    if re.fullmatch(r"(?:__)?gfp_\w+", flag, re.IGNORECASE):
        return flag.upper()
    try:
        return f"{int(flag, 0):#x}"
    except ValueError:
        raise BadQuestion(f"--gfp {text}: neither a flag (GFP_KERNEL, __GFP_ZERO) nor a mask (0xcc0)") from None


def _show(
    verdicts: list[Verdict], form: str, output: str | None, top: int | None, *, no_color: bool, is_one: bool = False
) -> None:
    from oomscope.cli import output as outputs

    outputs.write(
        _pieces(verdicts, form, top or _DEFAULT_TOP[form], is_one=is_one, no_color=no_color, output=output), output
    )
    if form in ("kernel", "json"):
        for verdict in verdicts:
            _warn(verdict)


def _pieces(
    verdicts: list[Verdict], form: str, rows: int | None, *, is_one: bool, no_color: bool, output: str | None
) -> Iterator[str]:
    from oomscope.cli.terminal import columns, wants_colour
    from oomscope.report import json_report, kernel_log, markdown, short, terminal

    if form == "json":
        yield from json_report.pieces(verdicts[0], top=rows) if is_one else json_report.pieces_all(verdicts, top=rows)
    elif form == "html":
        yield page_of(verdicts)
    elif form == "short":
        yield from map(short.render, verdicts)
    elif form == "markdown":
        yield "\n---\n\n".join(markdown.render(verdict, top=rows or 1) for verdict in verdicts)
    elif form == "kernel":
        yield from (kernel_log.render(verdict, top=rows or 1) for verdict in verdicts)
    else:
        colour, width = output is None and wants_colour(no_color=no_color), columns(output)
        for index, verdict in enumerate(verdicts):
            yield f"\n{'=' * min(width, _RULE)}\n" if index else ""
            yield terminal.render(verdict, top=rows or 1, colour=colour, width=width)


def page_of(verdicts: list[Verdict]) -> str:
    """The page of one verdict, with its stacks as flame graphs."""
    from oomscope.attribution.frame_tree import frame_paths, frame_tree
    from oomscope.report import page
    from oomscope.report.page.charts import FLAME_VIEWS

    if len(verdicts) != 1:
        raise BadQuestion("a page is of one OOM: --event N chooses it")
    if not verdicts[0].consumers:
        return page.render(verdicts[0], {})
    paths = frame_paths([(consumer.holding.stack, consumer.pages) for consumer in verdicts[0].consumers])
    return page.render(verdicts[0], {name: frame_tree(paths, **how) for name, how in FLAME_VIEWS.items()})


def _warn(verdict: Verdict) -> None:
    """What a reader of machine output would miss on the screen."""
    for reading in verdict.inputs:
        if reading.defect is not None:
            click.echo(f"oomscope: {reading.origin}: {reading.defect}; what was read is explained", err=True)
        if reading.corrupt_records:
            click.echo(
                f"oomscope: {reading.origin}: {reading.corrupt_records:,} records are too damaged to count", err=True
            )
    if verdict.most_allocations:
        click.echo("oomscope: pages are not known: stack_count counts allocations (--format text or json)", err=True)
    elif not verdict.counted_stacks and verdict.oom is not None and verdict.oom.analysis is not None:
        if not verdict.consumers:
            click.echo("oomscope: an OOM report names no stack (--format text or json has its class)", err=True)
    elif not verdict.counted_stacks:
        click.echo("oomscope: who took the pages was not recorded (--format text or json has the census)", err=True)
    elif not verdict.consumers:
        click.echo("oomscope: nobody can be named: only early, dummy or failure stacks hold pages", err=True)
