"""`oomscope diff`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from oomscope.model.diff import Difference

FORMATS = ("text", "kernel", "json", "html")


@click.command()
@click.argument("before", metavar="BEFORE")
@click.argument("after", metavar="[AFTER]", required=False)
@click.option("--format", "form", type=click.Choice(FORMATS), help="How to show it.  [text, or what -o's name tells]")
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="Write to this file.")
@click.option("--top", type=click.IntRange(1), help="How many rows of each kind.  [text 10, kernel 3, json all]")
@click.option("--page-size", type=click.Choice(["4096", "16384", "65536"]), help="In bytes, if the input lacks it.")
@click.option("--no-color", is_flag=True, help="No colour (NO_COLOR is honoured too).")
def diff(
    before: str,
    after: str | None,
    form: str | None,
    output: str | None,
    top: int | None,
    page_size: str | None,
    no_color: bool,
) -> None:
    """Say what grew between two readings of a machine: files, folders or archives of any kind that explain reads; with
    one alone, between its earliest and its latest moment.

    \b
    oomscope diff page_owner.before page_owner.after
    oomscope diff slabinfo.monday slabinfo.friday
    oomscope diff case/ --format json
    """  # noqa: D205, D301 - a help text; click knows the backspace
    from oomscope.cli import output as outputs
    from oomscope.cli.forms import chosen
    from oomscope.cli.progress import progress_bar
    from oomscope.cli.terminal import columns, wants_colour
    from oomscope.pipeline.api import compare
    from oomscope.report import diff as report

    output = outputs.place(output)
    form = chosen(form, output, FORMATS)
    outputs.require(output, form)
    with progress_bar() as progress:
        found = compare(before, after, page_size_bytes=None if page_size is None else int(page_size), progress=progress)
    if form == "json":
        text = report.as_json(found, top=top)
    elif form == "html":
        text = page_of_difference(found)
    elif form == "kernel":
        text = report.kernel(found, top=top or 3)
    else:
        colour = output is None and wants_colour(no_color=no_color)
        text = report.text(found, top=top or 10, colour=colour, width=columns(output))
    outputs.write([text], output)


def page_of_difference(found: Difference) -> str:
    """The page of a difference: flame graphs of what grew and of what shrank."""
    from oomscope.attribution.frame_tree import frame_paths, frame_tree
    from oomscope.report import page
    from oomscope.report.page.charts import CHANGED, GROWN, SHRUNK

    now = [(stack, after) for stack, _, after in found.stacks]
    moved = [after - before for _, before, after in found.stacks]
    paths = {
        CHANGED: frame_paths(now, moved),
        GROWN: frame_paths([(stack, by) for (stack, _), by in zip(now, moved, strict=True) if by > 0]),
        SHRUNK: frame_paths([(stack, -by) for (stack, _), by in zip(now, moved, strict=True) if by < 0]),
    }
    trees = {name: frame_tree(each, from_entry=True, fold_plumbing=False) for name, each in paths.items()}
    return page.render_difference(found, trees)
