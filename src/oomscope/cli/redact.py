"""`oomscope redact`."""

from __future__ import annotations

import io
import sys

import click

from oomscope.errors import BadQuestion, OutputFailed, cause_of

_SHOWN = 6


@click.command()
@click.argument("path", metavar="LOG|ARCHIVE")
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="Write to this file.  [standard output]")
def redact(path: str, output: str | None) -> None:
    """Take out of a kernel log, a file of /proc or an archive of them what names a machine, its tasks and its users.

    Each name becomes the same word everywhere (task-1, unit-2, host), so that `explain` gives the same answer. What is
    of no known kind in an archive is left out, and named.

    \b
    oomscope redact console.log > to-send.log
    oomscope redact sosreport.tar.xz -o to-send.tar.zst
    """  # noqa: D301 - click knows the backspace
    from oomscope.cli import output as outputs
    from oomscope.io import whole_file
    from oomscope.redaction.files import is_archive
    from oomscope.redaction.files import redact as redact_file

    output = outputs.place(output)
    outputs.require(output)
    if output is None and is_archive(path) and sys.stdout is not None and sys.stdout.isatty():
        raise BadQuestion("an archive is not for a terminal", advice="give it a file: -o case.tar.zst")
    if output is None:
        made = io.BytesIO()
        told = redact_file(path, made)
        outputs.to_stdout([made.getvalue()])
    else:
        try:
            with whole_file.opened(output, mode=0o600) as file:
                told = redact_file(path, file)
        except OSError as error:
            raise OutputFailed(f"{output}: {cause_of(error)}") from error
    for name, reason in told.left_out[:_SHOWN]:
        click.echo(f"oomscope: left out: {name}: {reason}", err=True)
    if len(told.left_out) > _SHOWN:
        click.echo(f"oomscope: and {len(told.left_out) - _SHOWN:,} more files", err=True)
    click.echo(
        "oomscope: look through it before you send it: a name in words that no kernel uses may be left", err=True
    )
