"""Arguments to library to exit code: no arithmetic, and the only place that prints."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from typing import NoReturn

import click

from oomscope import __version__
from oomscope.cli.arm import arm, disarm
from oomscope.cli.collect import collect
from oomscope.cli.debug import option as debug_option
from oomscope.cli.diff import diff
from oomscope.cli.doctor import doctor
from oomscope.cli.explain import explain as explain_command
from oomscope.cli.export import export
from oomscope.cli.help import help_
from oomscope.cli.history import history
from oomscope.cli.redact import redact
from oomscope.cli.signals import unwinding
from oomscope.cli.top import top
from oomscope.cli.triage import triage
from oomscope.cli.watch import watch
from oomscope.errors import OomscopeError, OutputFailed, foreseen

__all__ = ["main"]


class _OrFile(click.Group):
    """The commands. A file or folder in the place of one is explained; a command's name wins (`./top` is a file)."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """See click.Group."""
        first = args[0]
        if self.get_command(ctx, first) is None:
            if first == "-" or os.path.lexists(first) or "://" in first:
                return explain_command.name, explain_command, args
            if not first.startswith("-"):
                ctx.fail(f"{first}: neither a command nor a file")
        return super().resolve_command(ctx, args)


@click.group(cls=_OrFile, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="oomscope")
def cli() -> None:
    """When Linux runs out of memory, say who ate it. A file in the place of a command is explained.

    \b
    Exit codes: 0 a verdict was given, even a partial one; 1 nothing to explain
    in the input; 2 usage; 3 nothing could be read; 4 a privilege or a kernel
    feature is missing; 5 the output could not be written.
    """  # noqa: D301 - click knows the backspace as "leave these lines as they are"


# What the list of commands says of each: a line that is never cut.
_IN_SHORT = {
    "explain": "Say who ate the memory, from logs, dumps and files of /proc.",
    "diff": "Say what grew between two readings of a machine.",
    "triage": "Explain a fleet's cases and what they have in common.",
    "export": "Give a case's stacks to flame graphs and tables.",
    "watch": "Explain every OOM when it happens, and tell who asks.",
    "history": "Show what grew over days, from the readings of watch.",
    "top": "Watch who takes more memory on this machine.",
    "collect": "Gather this machine's evidence into one archive.",
    "redact": "Take names out of a log or an archive.",
    "arm": "Have an OOM panic name the greatest consumers.",
    "disarm": "Undo what `oomscope arm` did.",
    "doctor": "Check whether the next OOM will be explained.",
    "help": "Show the documentation of a topic.",
}

for command in (
    explain_command,
    diff,
    triage,
    export,
    watch,
    history,
    top,
    collect,
    redact,
    arm,
    disarm,
    doctor,
    help_,
):
    command.params.append(debug_option())
    command.short_help = _IN_SHORT[command.name or ""]
    cli.add_command(command)


def main() -> None:
    """Run the command line; every error that a user can cause ends in one sentence and its exit code."""
    # One thread per process: the work is divided over processes, and a pool of idle threads costs start-up time.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Values are frozen and refer downwards only: there are no cycles to look for among hundreds of thousands of them.
    gc.disable()
    try:
        with unwinding():
            exit_code = cli.main(prog_name="oomscope", standalone_mode=False)
    except OomscopeError as error:
        _fail(str(error), error.advice, error.exit_code)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.UsageError as error:
        if sys.stderr is not None:
            error.show()
        _leave(2)
    except click.ClickException as error:
        _fail(error.format_message(), "", 2)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted", "", 130)
    except Exception as error:  # noqa: BLE001 - told in a sentence; --debug shows the traceback
        told = foreseen(error)
        _fail(str(told), told.advice, told.exit_code)
    else:
        _leave(exit_code or 0)


def _fail(message: str, advice: str, exit_code: int) -> None:
    from oomscope.text import printable

    text = printable(message.encode("utf-8", "surrogateescape"))
    with contextlib.suppress(OSError, ValueError):  # where nobody can be told any more, the code tells
        click.echo(f"oomscope: {text}" + (f"; {advice}" if advice else ""), err=True)
    _leave(exit_code)


def _leave(exit_code: int) -> NoReturn:
    """End with this code; what Python cannot flush then is told by the code, not by a traceback."""
    for stream, code in ((sys.stderr, exit_code), (sys.stdout, exit_code or OutputFailed.exit_code)):
        try:
            if stream is not None:
                stream.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            exit_code = code
    sys.exit(exit_code)
