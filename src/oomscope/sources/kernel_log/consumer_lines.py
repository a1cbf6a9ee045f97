"""The at-panic lines: who held most, printed by the dying kernel itself.

Those of the 2020 patch (`greatest`; its first version said `largest`) and oomscope's own:

    OOM: greatest memory consumer: N pages are allocated from:
     frame...
    OOM: memory consumer #2: N pages are allocated from:
     frame...
    OOM: S stacks hold N of R pages; U pages not counted
    OOM: tracked since T s; N pages were allocated before that

They come through printk, or through the trace buffer that panic() dumps (`<...>-1  [000] ... bpf_trace_printk: `), so
that what stands before them varies. What follows the last known prefix is the line; frames are recognised by their own
form. Of several reports in one log the last one counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from oomscope import bounds
from oomscope.model.batch import Batch, Tables
from oomscope.model.reading import Notes, PanicTotals
from oomscope.model.stack import Frame, Stack, parse_frame
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
_FRAME_REACH = 700  # the longest frame and its module
_FRAME_AT_END = re.compile(
    rb"[ :](?P<frame>(?:[^\s+]{1,512}\+0x[0-9a-f]{1,16}/0x[0-9a-f]{1,16}(?: \[[^\]\s]+\])?|0x[0-9a-f]{8,16}))$"
)
_PRINTK_TIME = re.compile(rb"\[ *(?P<seconds>\d{1,9})\.(?P<micros>\d{6})\]")
_KMSG_TIME = re.compile(rb"^(?:[^,;]{1,80},)??\d{1,4},\d{1,18},(?P<micros>\d{1,15}),[^;]{0,80};")
_COLOUR = re.compile(rb"\x1b\[[0-9;]{0,20}[mK]")
_CALLER = re.compile(rb"\[ *(?P<caller>[TC]\d{1,7})\] ?")
_TRACE = b"bpf_trace_printk: "


class ConsumerLinesReader:
    """Takes the lines of a log as they are, and gives the rows of its last whole at-panic report."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._report: _Report | None = None
        self._last_whole: _Report | None = None

    @property
    def is_reading(self) -> bool:
        """Whether a report has begun and not ended."""
        return self._report is not None and not self._report.done

    def take(self, line: bytes) -> None:
        """Take one line; it may be of anything."""
        if b"\x1b" in line:
            line = _COLOUR.sub(b"", line)
        if b"OOM: " in line and self._take_report_line(line):
            return
        if self._report is not None:
            self._report.take_frame(line)

    def batches(self) -> Iterator[Batch]:
        """The holdings of the last report, once the log has been read to its end."""
        self._keep_if_whole()
        report, notes = self._last_whole, self._notes
        if report is None:
            return
        notes.at_ns = report.at_ns
        notes.totals = report.totals
        notes.cut_off = report.totals is None
        tables = Tables()
        rows = []
        for pages, frames in report.consumers:
            if not frames or pages > bounds.PAGES:
                notes.corrupt_records += 1
                continue
            tables.stacks.append(Stack(tuple(frames)))
            rows.append(pages)
        notes.records = len(rows)
        if rows:
            yield Batch(tables, np.arange(len(rows), dtype=np.int64), pages=np.array(rows, np.int64))

    def _keep_if_whole(self) -> None:
        """Of several reports the last one counts that has a stack: a later one may be cut."""
        if self._report is not None:
            self._report.close()
            if any(frames for _, frames in self._report.consumers):
                self._last_whole = self._report

    def _take_report_line(self, line: bytes) -> bool:
        if (match := GREATEST.search(line)) is not None:
            self._notes.reports += 1
            self._keep_if_whole()
            self._report = _Report(line, int(match["pages"]))
            return True
        if self._report is None:
            return False
        if (match := _NEXT.search(line)) is not None:
            self._report.start(line, int(match["pages"]))
            return True
        if (match := _TOTALS.search(line)) is not None:
            self._report.finish(
                PanicTotals(int(match["stacks"]), int(match["pages"]), _int(match["ram"]), _int(match["uncounted"]))
            )
            return True
        if (match := _TRACKED.search(line)) is not None and self._report.totals is not None:
            since_ns = int(match["seconds"]) * 10**9 + int(match["micros"]) * 1000
            self._report.totals = replace(
                self._report.totals, tracked_since_ns=since_ns, older_pages=int(match["older"])
            )
            return True
        return False


class _Report:
    """One at-panic report while its lines come in."""

    def __init__(self, line: bytes, pages: int) -> None:
        self.consumers: list[tuple[int, list[Frame]]] = []
        self.totals: PanicTotals | None = None
        self.at_ns = _printk_time_ns(line)
        self._frames: list[Frame] | None = None
        self.start(line, pages)

    def start(self, line: bytes, pages: int) -> None:
        """A consumer's first line."""
        self._traced = _TRACE in line
        self._caller = _caller(line)
        self._frames = []
        self.done = False
        if len(self.consumers) < bounds.EVENT_ROWS:
            self.consumers.append((pages, self._frames))

    def take_frame(self, line: bytes) -> bool:
        """Whether the line was a frame of the stack being read, or a line of somebody else to pass over."""
        if self._frames is None or not line.strip():
            return False
        if self._traced and _TRACE not in line:
            return False  # printk of another CPU between two lines of the trace buffer
        if self._caller is not None and _caller(line) != self._caller:
            return False
        line = line.rstrip()[-_FRAME_REACH:]
        match = _FRAME_AT_END.search(line) if b"0x" in line else None
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


def _printk_time_ns(line: bytes) -> int | None:
    if (match := _KMSG_TIME.search(line)) is not None:  # /dev/kmsg: level,sequence,microseconds,flags;
        return int(match["micros"]) * 1000
    match = _PRINTK_TIME.search(line)
    return None if match is None else int(match["seconds"]) * 10**9 + int(match["micros"]) * 1000


def _caller(line: bytes) -> bytes | None:
    match = _CALLER.search(line)
    return None if match is None else match["caller"]


def _int(text: bytes | None) -> int | None:
    return None if text is None else int(text)
