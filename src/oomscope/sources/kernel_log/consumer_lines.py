"""The at-panic lines: who held most, printed by the dying kernel itself.

Those of the 2020 patch (`greatest`; its first version said `largest`) and oomscope's own:

    OOM: greatest memory consumer: N pages are allocated from:
     frame...
    OOM: memory consumer #2: N pages are allocated from:
     frame...
    OOM: greatest culprit: N pages by FUNCTION through S stacks
    OOM: next culprit: N pages by FUNCTION through S stacks
    OOM: 1 of 64 pages looked at: the greatest culprit holds 29.4 % +- 0.6 % of RAM
    OOM: it is surely the greatest; pages may be off by N
    OOM: N pages by modules loaded since it was armed, whose helpers are not known
    OOM: S stacks hold N of R pages; U pages not counted
    OOM: tracked since T s; N pages were allocated before that
    OOM: or later, in the N pages of RAM that were plugged in since

They come through printk, or through the trace buffer that panic() dumps, whose lines have a caller of their own
(prefixes.py). Of several reports in one log the last one counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from oomscope import bounds
from oomscope.model.batch import Batch
from oomscope.model.reading import Notes, PanicTotals, Sampled, ToldCulprit
from oomscope.model.stack import Frame, parse_frame
from oomscope.model.unknown import Unknown
from oomscope.numeric import np
from oomscope.sources.kernel_log.prefixes import LogLine
from oomscope.sources.stack_table import StackTable
from oomscope.text import printable

GREATEST = re.compile(rb"OOM: (?:greatest|largest) memory consumer: (?P<pages>\d{1,15}) pages are allocated from:")
_NEXT = re.compile(rb"OOM: memory consumer #\d{1,5}: (?P<pages>\d{1,15}) pages are allocated from:")
_TOTALS = re.compile(
    rb"OOM: (?P<stacks>\d{1,9}) stacks hold (?P<pages>\d{1,15})(?: of (?P<ram>\d{1,15}))? pages"
    rb"(?:; (?P<uncounted>\d{1,15}) pages not counted)?"
)
_TRACKED = re.compile(
    rb"OOM: tracked since (?P<seconds>\d{1,9})\.(?P<micros>\d{6}) s; "
    rb"(?P<older>\d{1,15}) pages were allocated before that"
)
CULPRIT = re.compile(
    rb"OOM: (?P<which>greatest|next) culprit: (?P<pages>\d{1,15}) pages by (?P<frame>\S{1,512}(?: \[[^\]\s]{1,63}\])?)"
    rb" through (?P<stacks>\d{1,9}) stacks"
)
_LATER = re.compile(rb"OOM: (?P<pages>\d{1,15}) pages by modules loaded since it was armed")
_NAMELESS = re.compile(rb"OOM: culprits of (?P<pages>\d{1,15}) pages are not counted")
_STOPPED = re.compile(rb"OOM: stopped after \d{1,9} ms: the numbers are too small")
_STRIDE = re.compile(rb"OOM: 1 of (?P<stride>[1-9]\d{0,3}) pages looked at")
_BOUND = re.compile(rb"OOM: it is (?P<doubt>not )?surely the greatest; pages may be off by (?P<pages>\d{1,15})")
_CULPRITS_KEPT = 16
_PLUGGED = re.compile(rb"OOM: or later, in the (?P<pages>\d{1,15}) pages of RAM that were plugged in since")
_FRAME_REACH = 700  # the longest frame and its module
_FRAME_AT_END = re.compile(
    rb"(?:^|[ :])(?P<frame>(?:[^\s+]{1,512}\+0x[0-9a-f]{1,16}/0x[0-9a-f]{1,16}(?: \[[^\]\s]+\])?|0x[0-9a-f]{8,16}))$"
)


class ConsumerLinesReader:
    """Takes the lines of a log, and gives the rows of its last whole at-panic report."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._report: _Report | None = None
        self._last_whole: _Report | None = None

    @property
    def is_reading(self) -> bool:
        """Whether a report has begun and not ended."""
        return self._report is not None and not self._report.done

    def take(self, line: LogLine) -> bool:
        """Take one line, which may be of anything; whether it is one of such a report."""
        if b"OOM: " in line.text and self._take_report_line(line):
            return True
        return self._report is not None and self._report.take_frame(line)

    def batches(self) -> Iterator[Batch]:
        """The holdings of the last report, once the log has been read to its end."""
        self._keep_if_whole()
        report, notes = self._last_whole, self._notes
        if report is None:
            return
        notes.at_ns = report.at_ns
        notes.log.totals = report.totals
        notes.log.culprits = self._sound_culprits(report)
        notes.log.later_pages, notes.log.nameless_culprit_pages = report.later_pages, report.nameless_culprit_pages
        notes.log.stopped, notes.log.sampled = report.stopped, report.sampled
        notes.stats.cut_off = report.totals is None
        stacks = StackTable()
        rows = []
        for pages, frames in report.consumers:
            if pages > bounds.PAGES or (not frames and not report.culprits):
                notes.stats.corrupt_records += 1
                continue
            if not frames:
                continue  # as where a log was filtered by a word: the culprits are told all the same
            index = stacks.index(frames)
            if index is not None:  # an event has fewer rows than there may be stacks
                rows.append((index, pages))
        notes.stats.records = len(rows)
        if rows:
            stack, counted = np.array(rows, np.int64).T
            yield Batch(stacks.tables, stack, pages=counted)

    def _sound_culprits(self, report: _Report) -> tuple[ToldCulprit, ...]:
        """The culprits of a report.

        None where they hold more than all stacks together: a line is spoilt then; and none where the line of the
        greatest one is lost: whoever comes next is no answer.
        """
        whole = bounds.PAGES if report.totals is None else report.totals.pages
        if sum(each.pages for each in report.culprits) > whole:
            self._notes.stats.corrupt_records += len(report.culprits)
            return ()
        if report.culprits and not report.has_greatest_culprit:
            second = report.culprits[0]
            behind = f"{second.function} with {second.pages:,} pages is at best the second"
            lost = Unknown("the greatest culprit", f"the line that names it is not in this log; {behind}")
            self._notes.absent = (*self._notes.absent, lost)
            return ()
        return tuple(report.culprits)

    def _keep_if_whole(self) -> None:
        """Of several reports the last one counts that names somebody: a later one may be cut."""
        if self._report is not None:
            self._report.close()
            if self._report.culprits or any(frames for _, frames in self._report.consumers):
                self._last_whole = self._report

    def _begin(self, line: LogLine) -> _Report:
        self._notes.log.reports += 1
        self._keep_if_whole()
        self._report = _Report(line)
        return self._report

    def _take_culprit(self, line: LogLine, match: re.Match[bytes]) -> None:
        """A line of a culprit; the first one begins a report whose stacks are not in the log."""
        report = self._report
        if report is None or (match["which"] == b"greatest" and (report.culprits or report.totals is not None)):
            report = self._begin(line)
        report.close()
        report.has_greatest_culprit |= match["which"] == b"greatest"
        name = printable(match["frame"])
        symbol, _, module = name.partition(" ")
        frame = parse_frame(name) or Frame(name, symbol, module=module.strip("[]") or None)
        pages, stacks = int(match["pages"]), int(match["stacks"])
        if not pages or not stacks or pages > bounds.PAGES:
            self._notes.stats.corrupt_records += 1
        elif len(report.culprits) >= _CULPRITS_KEPT:
            self._notes.stats.leave_out("culprits")
        else:
            report.culprits.append(ToldCulprit(frame.function, frame.module, pages, stacks))

    def _take_report_line(self, line: LogLine) -> bool:
        text = line.text
        if (match := GREATEST.search(text)) is not None:
            self._begin(line).start(line, int(match["pages"]))
            return True
        if (match := CULPRIT.search(text)) is not None:
            self._take_culprit(line, match)
            return True
        if (match := _NEXT.search(text)) is not None:
            if self._report is None or self._report.totals is not None:  # its first lines are lost
                self._begin(line)
            assert self._report is not None
            self._report.start(line, int(match["pages"]))
            return True
        if self._report is None:
            return False
        return self._take_detail(text) or self._take_totals(text)

    def _take_detail(self, text: bytes) -> bool:
        """How far the culprits' numbers can be trusted."""
        assert self._report is not None
        report, sampled = self._report, self._report.sampled or Sampled()
        if (match := _LATER.search(text)) is not None:
            report.later_pages = int(match["pages"])
        elif (match := _NAMELESS.search(text)) is not None:
            report.nameless_culprit_pages = int(match["pages"])
        elif _STOPPED.search(text) is not None:
            report.stopped = True
        elif (match := _STRIDE.search(text)) is not None:
            report.sampled = replace(sampled, stride=int(match["stride"]))
        elif (match := _BOUND.search(text)) is not None:
            report.sampled = replace(sampled, bound_pages=int(match["pages"]), is_surely_greatest=not match["doubt"])
        else:
            return False
        return True

    def _take_totals(self, text: bytes) -> bool:
        assert self._report is not None
        if (match := _TOTALS.search(text)) is not None:
            self._report.finish(
                PanicTotals(int(match["stacks"]), int(match["pages"]), _int(match["ram"]), _int(match["uncounted"]))
            )
            return True
        if (match := _TRACKED.search(text)) is not None and self._report.totals is not None:
            since_ns = int(match["seconds"]) * 10**9 + int(match["micros"]) * 1000
            self._report.totals = replace(
                self._report.totals, tracked_since_ns=since_ns, older_pages=int(match["older"])
            )
            return True
        if (match := _PLUGGED.search(text)) is not None and self._report.totals is not None:
            self._report.totals = replace(self._report.totals, plugged_pages=int(match["pages"]))
            return True
        return False


class _Report:
    """One at-panic report while its lines come in."""

    def __init__(self, line: LogLine) -> None:
        self.consumers: list[tuple[int, list[Frame]]] = []
        self.culprits: list[ToldCulprit] = []
        self.later_pages = self.nameless_culprit_pages = 0
        self.stopped = self.has_greatest_culprit = False
        self.sampled: Sampled | None = None
        self.totals: PanicTotals | None = None
        self.at_ns = line.at_ns
        self.done = False
        self._frames: list[Frame] | None = None

    def start(self, line: LogLine, pages: int) -> None:
        """A consumer's first line."""
        self._caller = line.caller
        self._frames = []
        self.done = False
        if len(self.consumers) < bounds.EVENT_ROWS:
            self.consumers.append((pages, self._frames))

    def take_frame(self, line: LogLine) -> bool:
        """Whether the line was a frame of the stack being read, or a line of somebody else to pass over."""
        if self._frames is None or not line.text:
            return False
        if self._caller is not None and line.caller != self._caller:
            return False  # of another CPU, or printk between two lines of the trace buffer
        text = line.text.rstrip()[-_FRAME_REACH:]
        match = _FRAME_AT_END.search(text) if b"0x" in text else None
        frame = None if match is None else parse_frame(printable(match["frame"]))
        if frame is None or len(self._frames) >= bounds.STACK_FRAMES:
            self.close()
            return False
        self._frames.append(frame)
        return True

    def finish(self, totals: PanicTotals) -> None:
        """The totals line."""
        self.totals = totals
        self.close()

    def close(self) -> None:
        """No more frames."""
        self._frames = None
        self.done = True


def _int(text: bytes | None) -> int | None:
    return None if text is None else int(text)
