"""`oomscope top`: the screen, its keys, and leaving the terminal as it was."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oomscope.errors import BadQuestion

if TYPE_CHECKING:
    from oomscope.host.top import Watch

FORMATS = ("text", "json")
_LOOK_EVERY_S = 0.1  # for a key, or another size of the terminal


@click.command()
@click.option("--interval", "interval_s", type=click.FloatRange(0.1), default=2.0, show_default=True, help="Seconds.")
@click.option("--once", is_flag=True, help="Two readings, so that there are rates, and one answer.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", help="json: a line for each reading.")
@click.option("--top", "rows", type=click.IntRange(1), help="At most so many rows.  [text: what fits, json: all]")
@click.option("--by", "group_by", type=click.Choice(["culprit", "stack"]), default="culprit", show_default=True)
@click.option("--sort", type=click.Choice(["amount", "change", "rate", "name"]), default="amount", show_default=True)
@click.option("--root", type=click.Path(exists=True, file_okay=False), default="/", hidden=True)
def top(interval_s: float, once: bool, form: str, rows: int | None, group_by: str, sort: str, root: str) -> None:
    """Watch who holds memory on this machine, and who takes more of it: amounts, change, rates, by culprit.

    \b
    sudo oomscope top
    sudo oomscope top --once --format json
    Keys: q quit, s sort, f fold to culprits or stacks, p pause, r count changes from now on.
    """  # noqa: D301 - click knows the backspace
    from oomscope.cli.output import require, to_stdout
    from oomscope.cli.terminal import wants_colour
    from oomscope.host.facts import Machine
    from oomscope.host.top import Watch
    from oomscope.report import snapshot as report
    from oomscope.report.tables import console_to

    is_screen = form == "text" and not once
    if is_screen and not all(each is not None and each.isatty() for each in (sys.stdin, sys.stdout)):
        raise BadQuestion("the screen needs a terminal", advice="--once, or --format json")
    require(None)
    watch = Watch(Machine(Path(root)))
    watch.tick()
    if is_screen:
        _screen(watch, interval_s, group_by, sort, rows)
        return
    while True:
        time.sleep(interval_s)
        watch.tick()
        snapshot = watch.snapshot(group_by=group_by, sort=sort)
        if form == "json":
            to_stdout([report.as_json(snapshot, top=rows)])
        else:
            import io

            out = io.StringIO()
            colour = wants_colour(no_color=False)
            console_to(out, colour=colour, width=120).print(report.screen(snapshot, height=(rows or 20) + 4))
            to_stdout(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())
        if once:
            return


def _screen(watch: Watch, interval_s: float, group_by: str, sort: str, rows: int | None) -> None:
    """The screen until somebody has had enough."""
    from rich.console import Console
    from rich.live import Live

    from oomscope.attribution.snapshot import GROUPS, SORTS
    from oomscope.report import snapshot as report

    # A size in the environment would be taken for the terminal's, whatever becomes of that.
    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)
    console = Console(highlight=False, markup=False, emoji=False)
    paused = False
    with _keys(), Live(console=console, screen=True, auto_refresh=False) as live:
        read_at, size = time.monotonic(), console.size
        while True:
            note = "paused; p goes on" if paused else report.KEYS
            height = min(console.size.height, (rows or console.size.height) + 5)
            live.update(
                report.screen(watch.snapshot(group_by=group_by, sort=sort), height=height, note=note), refresh=True
            )
            key = _key(0)  # however long a reading takes
            while key is None and console.size == size and (paused or time.monotonic() < read_at + interval_s):
                key = _key(_LOOK_EVERY_S)
            size = console.size
            if key in ("q", "\x03", "\x04", ""):
                return
            if key == "s":
                sort = SORTS[(SORTS.index(sort) + 1) % len(SORTS)]
            elif key == "f":
                group_by = GROUPS[(GROUPS.index(group_by) + 1) % len(GROUPS)]
            elif key == "p":
                paused = not paused
            elif key == "r":
                watch.start_again()
            elif key is None and not paused and time.monotonic() >= read_at + interval_s:
                watch.tick()
                read_at = time.monotonic()


def _key(timeout_s: float) -> str | None:
    """The next key, "" where the terminal is gone, None where nobody has pressed one."""
    ready, _, _ = select.select([sys.stdin], [], [], timeout_s)
    # Past Python's buffer, where a second key would wait unseen.
    return os.read(sys.stdin.fileno(), 1).decode("latin-1") if ready else None


@contextmanager
def _keys() -> Iterator[None]:
    """Keys as they are pressed, without showing them; the terminal's own settings come back whatever happens."""
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal)
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
