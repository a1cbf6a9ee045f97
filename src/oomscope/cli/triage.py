"""`oomscope triage`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from oomscope.bounds import CASE_TIMEOUT_S
from oomscope.errors import OutputFailed, cause_of
from oomscope.units import counted

if TYPE_CHECKING:
    from oomscope.export.triage_tables import TriageTables
    from oomscope.model.triage import Case, Triage
    from oomscope.triage.executor import Executor


FORMATS = ("text", "json", "html")


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--format", "form", type=click.Choice(FORMATS), help="How to show it.  [text, or what -o's name tells]")
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="Write to this file.")
@click.option("--parquet", metavar="FOLDER", help="Write the tables cases, consumers and findings below this, too.")
@click.option("--top", type=click.IntRange(1), default=10, show_default=True, help="How many clusters to show as text.")
@click.option("--sort", type=click.Choice(["cases", "pages"]), default="cases", show_default=True,
              help="Order of the clusters.")  # fmt: skip
@click.option("--each", "grouping", type=click.Choice(["auto", "file", "folder"]), default="auto", show_default=True,
              help="What is one case: each file; each folder directly below PATH; or as its files tell.")  # fmt: skip
@click.option("--labels", "pattern", metavar="NAME/NAME", help="Names for the folders that cases lie in: site/host.")
@click.option("--sidecar", metavar="FILE", help="CSV or JSON: a column 'case', labels, and 'seen' for when it was.")
@click.option(
    "--since", "previous", type=click.Path(dir_okay=False), help="An earlier triage's JSON: mark what is new."
)
@click.option("--workers", type=click.IntRange(1, 1024), help="How many processes.  [one per CPU]")
@click.option("--scheduler", metavar="ADDRESS", help="A Dask cluster does the work: tcp://host:8786.")
@click.option("--case-timeout", "limit_s", type=click.FloatRange(0.001), default=CASE_TIMEOUT_S, show_default=True,
              metavar="SECONDS", help="A case that takes longer fails with that reason.")  # fmt: skip
@click.option("--no-cache", is_flag=True, help="Explain every case again, and keep nothing for the next time.")
@click.option("--no-color", is_flag=True, help="No colour (NO_COLOR is honoured too).")
def triage(
    paths: tuple[str, ...],
    form: str | None,
    output: str | None,
    parquet: str | None,
    top: int,
    sort: str,
    grouping: str,
    pattern: str | None,
    sidecar: str | None,
    previous: str | None,
    workers: int | None,
    scheduler: str | None,
    limit_s: float,
    no_cache: bool,
    no_color: bool,
) -> None:
    """Explain a fleet's cases, and say what they have in common: classes, clusters of equal causes, what is new.

    PATH is a folder, an archive, a log, or a URL that fsspec reads. A case that fails stays in the result with its
    reason. What is finished is kept: an interrupted triage goes on where it was.

    \b
    oomscope triage /srv/oom
    oomscope triage fleet/ --labels site/host --format html -o fleet.html
    oomscope triage fleet/ --parquet tables/ --format json -o today.json
    oomscope triage fleet/ --since yesterday.json
    oomscope triage s3://bucket/oom --scheduler tcp://scheduler:8786
    """  # noqa: D301 - click knows the backspace
    from oomscope.cli import output as outputs
    from oomscope.cli.forms import chosen
    from oomscope.cli.progress import progress_bar
    from oomscope.export.triage_tables import TriageTables
    from oomscope.triage import steps
    from oomscope.triage.baseline import previous as previous_of
    from oomscope.triage.cache import Cache, default_path
    from oomscope.triage.clusters import triage_of
    from oomscope.triage.dask_executor import DaskExecutor
    from oomscope.triage.labels import labels as labels_of
    from oomscope.triage.processes import Processes

    output = outputs.place(output)
    form = chosen(form, output, FORMATS)
    outputs.require(output, form)
    if parquet is not None:
        outputs.require_extra("parquet")
    made = datetime.now(UTC).isoformat(timespec="seconds")
    labels = labels_of(pattern, sidecar)
    before = None if previous is None else previous_of(previous)
    tables = None if parquet is None else TriageTables(parquet, labels.names)
    kept = None if no_cache else default_path()
    engine: Executor = Processes(workers) if scheduler is None else DaskExecutor(scheduler)
    with _interruptible(is_kept=kept is not None), Cache(kept) as results, engine:
        with progress_bar() as tell:
            found = steps.find(
                paths,
                grouping=grouping,
                engine=engine,
                by_content=not no_cache,
                labelled=len(labels.pattern),
                limit_s=limit_s,
                progress=tell and (lambda done, total: tell("looking", done, total, "files")),
            )
            finished = steps.explain_all(
                found.units,
                engine=engine,
                results=results,
                limit_s=limit_s,
                progress=tell and (lambda done, total: tell("explaining", done, total, "cases")),
            )
        if finished:
            were = "was" if finished == 1 else "were"
            click.echo(f"oomscope: {counted(finished, 'case')} {were} explained before, and not again", err=True)
        trouble = "there is no home folder" if kept is None and not no_cache else results.trouble
        if trouble is not None:
            click.echo(f"oomscope: nothing is kept for the next time: {trouble}", err=True)

        def cases() -> Iterator[Case]:
            return steps.cases(found.units, results, labels)

        notes = [*found.notes, *(labels.notes(case.name for case in cases()) if labels.rows else ())]
        told = triage_of(_written(cases(), tables, parquet), before=before, sort=sort, notes=notes)
        report = _report(told, cases, form, top=top, made=made, no_color=no_color or output is not None, output=output)
        outputs.write(report, output)
    sys.exit(told.exit_code)


@contextmanager
def _interruptible(*, is_kept: bool) -> Iterator[None]:
    """Ctrl-C ends the command with what to do next."""
    try:
        yield
    except KeyboardInterrupt:
        kept = "; what is finished is kept: the same command goes on from there" if is_kept else ""
        click.echo(f"oomscope: interrupted{kept}", err=True)
        sys.exit(130)


def _written(cases: Iterator[Case], tables: TriageTables | None, place: str | None) -> Iterator[Case]:
    """The same cases, each put into the tables in passing, where those are asked for."""
    if tables is None:
        yield from cases
        return
    try:
        with tables:
            for case in cases:
                tables.add(case)
                yield case
    except OSError as error:
        raise OutputFailed(f"--parquet {place}: {cause_of(error)}") from error


def _report(
    told: Triage,
    cases: Callable[[], Iterator[Case]],
    form: str,
    *,
    top: int,
    made: str,
    no_color: bool,
    output: str | None,
) -> Iterator[str]:
    from oomscope.cli.terminal import columns, wants_colour
    from oomscope.report import triage_json, triage_text

    if form == "json":
        yield from triage_json.pieces(told, cases(), made=made)
    elif form == "html":
        from oomscope.report.page import triage

        yield triage.render(told, cases(), made=made)
    else:
        yield triage_text.render(told, top=top, colour=wants_colour(no_color=no_color), width=columns(output))
