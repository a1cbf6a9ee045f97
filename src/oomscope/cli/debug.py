"""`--debug`, which every command has: the traceback of a bug in oomscope, on standard error."""

from __future__ import annotations

import logging
import sys

import click


def option() -> click.Option:
    """The option, to be added to a command."""
    return click.Option(
        ["--debug"],
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_switch_on,
        help="Show the traceback of a bug in oomscope.",
    )


def _switch_on(_: click.Context, __: click.Parameter, value: bool) -> None:
    if value and sys.stderr is not None:
        log = logging.getLogger("oomscope")
        log.setLevel(logging.DEBUG)
        log.addHandler(logging.StreamHandler(sys.stderr))
