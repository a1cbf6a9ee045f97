"""Console, titles and tables of the terminal reports."""

from __future__ import annotations

import io

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text


def console_to(out: io.StringIO, *, colour: bool, width: int) -> Console:
    """A console that writes into `out`; `colour` adds escapes of our own, never of the input's."""
    return Console(
        file=out,
        width=max(40, width),
        force_terminal=colour,
        color_system="standard" if colour else None,
        no_color=not colour,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )


def title(console: Console, text: str) -> None:
    """A blank line, then the title."""
    console.print()
    console.print(Text(text, style="bold"))


def table(*columns: tuple[str, bool]) -> Table:
    """A table of these columns; the flag says which hold numbers."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name, is_number in columns:
        made.add_column(name, justify="right" if is_number else "left", no_wrap=is_number, overflow="fold")
    return made


def show(console: Console, made: Table) -> None:
    """The table, set in a little."""
    console.print(Padding(made, (0, 0, 0, 2)))
