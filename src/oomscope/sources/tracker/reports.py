"""Reports that the program on the OOM path has kept, as rows: the greatest consumers with their stacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from oomscope.model.batch import Batch, Tables
from oomscope.model.reading import LogFacts, Notes, PanicTotals, ParseStats, Sampled, ToldCulprit
from oomscope.model.stack import Frame, Stack
from oomscope.numeric import np
from oomscope.sources.tracker.panic_report import OWNERS, PANIC, PanicReport

FramesOf = Callable[[Iterable[int]], tuple[Frame, ...]]


def rows_of(reports: list[PanicReport], frames_of: FramesOf) -> list[tuple[Notes, Batch]]:
    """Notes and rows of the panic's report, else of each OOM kill's; `frames_of` names return addresses."""
    panics = [report for report in reports if report.cause == PANIC]
    return [_rows(report, frames_of) for report in panics[-1:] or reports]


def _rows(report: PanicReport, frames_of: FramesOf) -> tuple[Notes, Batch]:
    told = [consumer for consumer in report.consumers if consumer.frames]
    tables = Tables(stacks=[Stack(frames_of(consumer.frames), consumer.handle) for consumer in told])
    log = LogFacts(
        panicked=report.cause == PANIC,
        reports=1,
        totals=_totals(report),
        culprits=tuple(_culprits(report, frames_of)),
        later_pages=report.later_pages,
        nameless_culprit_pages=report.nameless_culprit_pages,
        stopped=report.stopped,
        sampled=_sampled(report),
    )
    notes = Notes(ParseStats(records=len(told)), log=log, at_ns=report.at_ns)
    pages = np.array([consumer.pages for consumer in told], np.int64)
    return notes, Batch(tables, np.arange(len(told), dtype=np.int64), pages=pages)


def _culprits(report: PanicReport, frames_of: FramesOf) -> Iterator[ToldCulprit]:
    for culprit, frame in zip(report.culprits, frames_of([each.frame for each in report.culprits]), strict=True):
        yield ToldCulprit(frame.function, frame.module, culprit.pages, culprit.stacks)


def _sampled(report: PanicReport) -> Sampled | None:
    if report.stride <= 1 or not report.culprits:
        return None
    return Sampled(report.stride, report.culprits[0].bound_pages, report.is_surely_greatest)


def _totals(report: PanicReport) -> PanicTotals:
    told = PanicTotals(report.stacks, report.pages, report.ram_pages, report.uncounted_pages)
    if report.way != OWNERS:
        return told
    return replace(
        told, tracked_since_ns=report.since_ns, older_pages=report.older_pages, plugged_pages=report.plugged_pages
    )
