"""A progress bar on stderr for what takes longer than a second, none where stderr is no terminal that can draw it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from oomscope.units import bytes_text

if TYPE_CHECKING:
    from oomscope.pipeline.inputs import Progress

_PATIENCE_S = 1.0
_NAME_SHOWN = 24


@contextmanager
def progress_bar() -> Iterator[Progress | None]:
    """A function to tell progress to, None where nobody would see it; the bar goes away when the work is done."""
    if sys.stderr is None or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    started = time.monotonic()
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[amount]}", markup=False),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        auto_refresh=False,
        transient=True,
    )
    tasks = {}

    def tell(origin: str, done: int, total: int | None, unit: str) -> None:
        if time.monotonic() - started < _PATIENCE_S:
            return
        if origin not in tasks:
            bar.start()
            tasks[origin] = bar.add_task(Path(origin).name[-_NAME_SHOWN:], total=total, amount="")
        bar.update(tasks[origin], completed=done, amount=_amount(done, total, unit))
        bar.refresh()

    try:
        yield tell
    finally:
        bar.stop()


def _amount(done: int, total: int | None, unit: str) -> str:
    def text(amount: int) -> str:
        return bytes_text(amount) if unit == "bytes" else f"{amount:,}"

    of = "" if total is None else f" of {text(total)}"
    return f"{text(done)}{of}" if unit == "bytes" else f"{text(done)}{of} {unit}"
