"""`oomscope collect`."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import click

_SHOWN = 6


@click.command()
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False), default="case.tar.zst", show_default=True, help="Archive."
)
@click.option("--redact", is_flag=True, help="Replace what names the machine, its tasks, units and users.")
@click.option("--page-owner", is_flag=True, help="Take page_owner's text, too: gigabytes on a large machine.")
@click.option("--max-mib", type=click.IntRange(1), default=1024, show_default=True, help="At most so much, unpacked.")
@click.option("--max-seconds", type=click.IntRange(1), default=120, show_default=True, help="At most so long.")
def collect(output: str, redact: bool, page_owner: bool, max_mib: int, max_seconds: int) -> None:
    """Gather what this machine tells about its memory into one archive, to be explained elsewhere. Nothing is changed.

    \b
    sudo oomscope collect -o case.tar.zst
    oomscope explain case.tar.zst
    """  # noqa: D301 - a help text; click knows the backspace
    from oomscope import __version__
    from oomscope.cli import output as outputs
    from oomscope.host.collect import collect as collect_files
    from oomscope.units import bytes_text

    outputs.require(output)
    manifest = collect_files(
        Path(output),
        version=__version__,
        redact=redact,
        page_owner=page_owner,
        most_bytes=max_mib << 20,
        most_s=float(max_seconds),
    )
    size = f", {bytes_text(Path(output).stat().st_size)}" if Path(output).is_file() else ""
    tell = outputs.say if Path(output).is_file() else partial(click.echo, err=True)
    tell(f"{output}: {len(manifest.files):,} files{size}, in {manifest.seconds:.1f} s")
    for entry in manifest.unread[:_SHOWN]:
        click.echo(f"oomscope: not in it: {entry['path']}: {entry['reason']}", err=True)
    if len(manifest.unread) > _SHOWN:
        click.echo(
            f"oomscope: and {len(manifest.unread) - _SHOWN:,} more; manifest.json in the archive has all", err=True
        )
    if manifest.unread and os.geteuid() != 0:
        click.echo("oomscope: root can read more: sudo oomscope collect", err=True)
