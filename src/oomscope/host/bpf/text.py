"""A report as the program prints it: the at-panic lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from oomscope.sources.tracker.panic_report import KILL, OWNERS, PAGES, PanicReport, ReportedCulprit


def lines(report: PanicReport, frames: Callable[[Iterable[int]], list[str]], *, top: int) -> list[str]:
    """The lines of a report with its `top` greatest consumers; `frames` names return addresses."""
    told = [f"{'an OOM kill' if report.cause == KILL else 'an OOM panic'}, {report.at_ns / 1e9:.6f} s after boot"]
    for number, consumer in enumerate(report.consumers[:top], 1):
        name = "greatest memory consumer" if number == 1 else f"memory consumer #{number}"
        told.append(f"OOM: {name}: {consumer.pages} pages are allocated from:")
        told += [f" {frame}" for frame in frames(consumer.frames)]
    for number, culprit in enumerate(report.culprits):
        name = "next culprit" if number else "greatest culprit"
        told.append(
            f"OOM: {name}: {culprit.pages} pages by {_function(culprit, frames)} through {culprit.stacks} stacks"
        )
    if report.stride > 1 and report.culprits:
        told += _error(report)
    if report.later_pages:
        told.append(
            f"OOM: {report.later_pages} pages by modules loaded since it was armed, whose helpers are not known"
        )
    if report.nameless_culprit_pages:
        told.append(f"OOM: culprits of {report.nameless_culprit_pages} pages are not counted")
    told.append(
        f"OOM: {report.stacks} stacks hold {report.pages} of {report.ram_pages} pages;"
        f" {report.uncounted_pages} pages not counted"
    )
    beyond = f"{report.nameless_pages} without a stack, {report.lost_pages} beyond the table"
    if report.way == OWNERS:
        since = f"{report.since_ns // 10**9}.{report.since_ns % 10**9 // 1000:06}"
        told.append(f"OOM: tracked since {since} s; {report.older_pages} pages were allocated before that")
        if report.plugged_pages:
            told.append(f"OOM: or later, in the {report.plugged_pages} pages of RAM that were plugged in since")
        if report.taken_pages:
            told.append(
                f"OOM: {report.taken_pages} pages of RAM were taken away since, by whom stands among the stacks"
            )
        told.append(f"OOM: not counted: {report.left_out_pages} user memory, {beyond}")
    elif report.uncounted_pages:
        told.append(f"OOM: not counted: {report.early_pages} early, {beyond}, {report.unread_pages} unread")
    if report.unread_stacks:
        told.append(f"OOM: {report.unread_stacks} stacks cannot be read")
    walked, what = (report.stacks, "stacks") if report.way != PAGES else (report.walked_pages, "pages")
    told.append(
        f"OOM: walked {walked} {what} in {report.took_ns // 1000} us,"
        f" {report.naming_ns // 1000} us of them for culprits"
    )
    if report.stopped:
        told.append(f"OOM: stopped after {report.took_ns // 1000000} ms: the numbers are too small")
    return told


def _error(report: PanicReport) -> list[str]:
    first = report.culprits[0]
    surely = "surely" if report.is_surely_greatest else "not surely"
    whole = max(1, report.ram_pages)
    share, bound = first.pages * 1000 // whole / 10, (first.bound_pages * 1000 // whole + 1) / 10
    looked_at = f"OOM: 1 of {report.stride} pages looked at"
    return [
        f"{looked_at}: the greatest culprit holds {share:.1f} % +- {bound:.1f} % of RAM",
        f"OOM: it is {surely} the greatest; pages may be off by {first.bound_pages}",
    ]


def _function(culprit: ReportedCulprit, frames: Callable[[Iterable[int]], list[str]]) -> str:
    """As %ps prints it: the function of a frame, and its module."""
    symbol, plus, place = frames([culprit.frame])[0].partition("+")
    _, _, module = place.partition(" ")
    return f"{symbol} {module}" if plus and module else symbol
