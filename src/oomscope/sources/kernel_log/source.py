"""A kernel log: console, dmesg, journal, syslog, pstore, a mail that quotes one.

Two things are read from it: the OOM events (`kernel_log/report/`), and the at-panic lines that name the greatest
consumers (`consumer_lines.py`). Stretches without any telling word are passed over in one go.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from oomscope import bounds
from oomscope.errors import UnknownContent
from oomscope.io.input import Stream
from oomscope.model.batch import Batch
from oomscope.model.oom_event import PANIC
from oomscope.model.reading import Notes, Reading, Role
from oomscope.model.unknown import Unknown
from oomscope.sources.base import Options, RowSource
from oomscope.sources.kernel_log.consumer_lines import CULPRIT, GREATEST, ConsumerLinesReader
from oomscope.sources.kernel_log.events import EventsReader
from oomscope.sources.kernel_log.interest import OF_INTEREST, lines_of_interest
from oomscope.sources.kernel_log.prefilter import is_worth_reading, numbered_stretches
from oomscope.sources.kernel_log.prefixes import LogLine, log_lines
from oomscope.sources.kernel_log.told_by_others import WHERE, told_by_others
from oomscope.sources.kernel_log.transport import in_order, mended_lines
from oomscope.sources.procfs.version import RELEASE
from oomscope.text import printable

_KERNEL_LOG = re.compile(
    rb"(?:^|\n)(?:<\d{1,3}>)?(?:\[ *\d{1,9}\.\d{6}\]|\[[^\]\n]{4,40}\d\d:\d\d:\d\d[^\]\n]{0,20}\]|"
    rb"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d |\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d|\d{1,2},\d{1,9},\d{1,18},[-c+];)"
)
_TELLING = re.compile(
    rb"invoked oom-killer: |page allocation failure|Out of memory: [Kk]ill|Mem-[Ii]nfo:|lowmemorykiller: Kill"
)
MarkedLine = tuple[int, bytes, bool]  # its number, its bytes, whether it may begin something
# No line of a report is shorter than three bytes: such a one is as good as blank, and one of several is enough.
_LEAST_BYTES, _LOOKED_AT_BYTES = 3, 80
# A mailer may have broken the line that begins a report, and who puts lines together holds them until they are whole.
_LINES_BEFORE, _LINES_BEHIND = 3, 4
_LINES_OF_CONTEXT = 12  # from the line of a CPU and its task to the frame that tells whose report this is
_PANIC = b"Kernel panic - not syncing"


class KernelLog(RowSource):
    """The format: a line of an OOM report anywhere near the beginning, or lines stamped as a kernel log's are."""

    format = "kernel log"
    role = Role.LOG

    def recognises(self, head: bytes) -> bool:
        """Whether this is a kernel log; one without stamps is known by an at-panic line or by a report's."""
        return any(pattern.search(head) is not None for pattern in (_KERNEL_LOG, GREATEST, CULPRIT, _TELLING))

    def parser(self, *, ranking_only: bool) -> KernelLogParser:  # noqa: ARG002 - it has nothing to leave out
        """A parser for one log."""
        return KernelLogParser()

    def read(self, stream: Stream, options: Options) -> list[Reading]:
        """See Source. Raises UnknownContent where neither the beginning nor any line is a kernel's."""
        (reading,) = super().read(stream, options)
        if reading.notes.log.reports or reading.notes.log.events:
            return [reading]
        if not self.recognises(stream.head):
            raise UnknownContent(f"{stream.origin}: text, but of no kind that is known here")
        if (told := told_by_others(stream.head)) is not None:
            reading.notes.absent += (Unknown("the kernel's own report", f"{told}: {WHERE}"),)
        return [reading]


class KernelLogParser:
    """Yields the rows of the last at-panic report; `notes.log.events` are the OOM events; see Parser."""

    def __init__(self) -> None:
        self.notes = Notes()
        self._consumers = ConsumerLinesReader(self.notes)
        self._events = EventsReader()

    def batches(self, chunks: Iterable[bytes]) -> Iterator[Batch]:
        """The holdings of the last report, once the log has been read to its end."""
        self._events.take(self._lines_worth_reading(in_order(chunks)))
        self.notes.log.events = self._events.events()
        self.notes.log.events_left_out = self._events.left_out
        if any(event.kind == PANIC for event in self.notes.log.events):
            self.notes.log.panicked = True
        yield from self._consumers.batches()

    def _lines_worth_reading(self, chunks: Iterable[bytes]) -> Iterator[LogLine]:
        was_worth_reading = False
        for lines_before, stretch in numbered_stretches(chunks):
            if lines_before == 0 and (match := RELEASE.search(stretch)) is not None:
                self.notes.release = printable(match["release"])
            goes_on = was_worth_reading or self._consumers.is_reading or self._events.is_reading
            was_worth_reading = is_worth_reading(stretch)
            if goes_on or was_worth_reading:
                yield from self._lines(stretch, lines_before)

    def _lines(self, stretch: bytes, lines_before: int) -> Iterator[LogLine]:
        is_of_consumers = self._consumers.take
        for number, raw, may_begin in self._worth_reading(stretch, lines_before + 1):
            if len(raw) > bounds.LOG_LINE_BYTES:
                self.notes.stats.unknown_lines += 1
                continue
            if may_begin:
                self._see_panic_and_release(raw)
            for line in log_lines(raw, number, may_begin=may_begin):
                if line.is_cut_off or not is_of_consumers(line):
                    yield line

    def _see_panic_and_release(self, raw: bytes) -> None:
        if _PANIC in raw and b"---[ end" not in raw:
            self.notes.log.panicked = True
        elif b"Linux version " in raw and (match := RELEASE.search(raw)) is not None:
            self.notes.release = printable(match["release"])

    def _worth_reading(self, stretch: bytes, first_number: int) -> Iterator[MarkedLine]:
        """Every line while something is being read; else those that may begin it, each with some around it."""
        numbers, raws, of_interest = _marked(stretch, first_number)
        at = behind = 0
        was_blank = False
        for place in (*of_interest, len(raws)):
            while at < place and (behind or self._consumers.is_reading or not self._events.is_idle):
                raw = raws[at]
                is_blank = len(raw) < _LOOKED_AT_BYTES and len(raw.strip()) < _LEAST_BYTES
                if is_blank and was_blank:
                    self._events.pass_blank_line()
                else:
                    behind = behind and behind - 1
                    yield numbers[at], raw, False
                was_blank = is_blank
                at += 1
            near = max(at, place - _LINES_BEFORE) if place < len(raws) else place
            self._events.pass_idle_lines(near - at)
            for before in range(near, place):
                yield numbers[before], raws[before], False
            if place < len(raws):
                yield numbers[place], raws[place], True
            is_context = place < len(raws) and b"omm: " in raws[place]
            at, behind, was_blank = place + 1, _LINES_OF_CONTEXT if is_context else _LINES_BEHIND, False


def _marked(stretch: bytes, first_number: int) -> tuple[Sequence[int], list[bytes], list[int]]:
    """The lines of a stretch: their numbers, their bytes, and which of them may begin something."""
    mended = mended_lines(stretch, first_number)
    if mended is None:
        raws = stretch.split(b"\n")
        return range(first_number, first_number + len(raws)), raws, lines_of_interest(stretch)
    pairs = list(mended)
    raws = [raw for _, raw in pairs]
    return [number for number, _ in pairs], raws, [at for at, raw in enumerate(raws) if OF_INTEREST.search(raw)]
