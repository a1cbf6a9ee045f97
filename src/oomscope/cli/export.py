"""`oomscope export`."""

from __future__ import annotations

import click

from oomscope.errors import NothingToExplain

FORMATS = ("folded", "speedscope", "pprof", "parquet", "csv")


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="CASE...")
@click.option("--as", "form", type=click.Choice(FORMATS), required=True, help="The format.")
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="Write to this file.  [standard output]")
@click.option("--page-size", type=click.Choice(["4096", "16384", "65536"]), help="In bytes, if the input lacks it.")
@click.option("--vmlinux", type=click.Path(dir_okay=False), help="Debug info of the kernel that a core dump is of.")
def export(paths: tuple[str, ...], form: str, output: str | None, page_size: str | None, vmlinux: str | None) -> None:
    """Give a case's stacks to other tools: folded stacks for flame graphs, speedscope, pprof, Parquet, CSV.

    \b
    oomscope export case/ --as folded | flamegraph.pl --countname pages > case.svg
    oomscope export case/ --as speedscope -o case.speedscope.json
    oomscope export case/ --as pprof -o case.pb.gz
    oomscope export case/ --as parquet -o case.parquet
    """  # noqa: D301 - click knows the backspace
    from oomscope.cli import output as outputs
    from oomscope.cli.progress import progress_bar
    from oomscope.export import EXPORTS
    from oomscope.pipeline.api import explain

    output = outputs.place(output)
    outputs.require(output, form)
    with progress_bar() as progress:
        verdict = explain(
            *paths, page_size_bytes=None if page_size is None else int(page_size), vmlinux=vmlinux, progress=progress
        )
    if not verdict.consumers:
        raise NothingToExplain(
            f"{paths[0]}: no stacks to export", advice="oomscope explain says what is known; page_owner has stacks"
        )
    outputs.write([EXPORTS[form](verdict)], output)
