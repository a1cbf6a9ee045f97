"""`oomscope history`."""

from __future__ import annotations

from pathlib import Path

import click

FORMATS = ("text", "json", "html")


@click.command()
@click.option("--history", type=click.Path(dir_okay=False), help="The file.  [/var/lib/oomscope/history.sqlite]")
@click.option("--top", type=click.IntRange(1), default=10, show_default=True, help="How many of each to show.")
@click.option("--format", "form", type=click.Choice(FORMATS), help="How to show it.  [text, or what -o's name tells]")
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="Write to this file: .html, .json or any.")
def history(history: str | None, top: int, form: str | None, output: str | None) -> None:
    """Show what memory did over days: what grew steadily, and what holds most, from the readings of `watch --leaks`.

    \b
    oomscope history
    oomscope history -o history.html
    """  # noqa: D301 - a help text; click knows the backspace
    import json

    from oomscope.attribution import trend
    from oomscope.cli import output as outputs
    from oomscope.cli.forms import chosen
    from oomscope.cli.terminal import columns
    from oomscope.report import history as report
    from oomscope.watch.history import PATH, History

    output = outputs.place(output)
    form = chosen(form, output, FORMATS)
    outputs.require(output, form)
    kept = History(PATH if history is None else Path(history))
    series, latest = kept.series(), kept.latest()
    growers = trend.growers(series, ram_bytes=latest.ram_bytes, available_bytes=latest.available_bytes)
    if form == "json":
        text = json.dumps(report.to_json(series, growers, latest, top=top), ensure_ascii=False, indent=1) + "\n"
    elif form == "html":
        from oomscope.report.page import history_page

        text = history_page.render(report.to_json(series, growers, latest, top=top))
    else:
        text = report.render(series, growers, latest, top=top, width=columns(output))
    outputs.write([text], output)
