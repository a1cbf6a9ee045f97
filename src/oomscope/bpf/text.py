"""A report as the program prints it: the at-panic lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from oomscope.model.panic_report import KILL, PanicReport


def lines(report: PanicReport, frames: Callable[[Iterable[int]], list[str]], *, top: int) -> list[str]:
    """The lines of a report with its `top` greatest consumers; `frames` names return addresses."""
    told = [f"{'an OOM kill' if report.cause == KILL else 'an OOM panic'}, {report.at_ns / 1e9:.6f} s after boot"]
    for number, consumer in enumerate(report.consumers[:top], 1):
        name = "greatest memory consumer" if number == 1 else f"memory consumer #{number}"
        told.append(f"OOM: {name}: {consumer.pages} pages are allocated from:")
        told += [f" {frame}" for frame in frames(consumer.frames)]
    told.append(
        f"OOM: {report.stacks} stacks hold {report.pages} of {report.ram_pages} pages;"
        f" {report.uncounted_pages} pages not counted"
    )
    return told
