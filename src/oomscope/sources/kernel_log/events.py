"""The OOM events of a log, in the order of the log."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from oomscope import bounds
from oomscope.model.oom_event import SHOWN, OomEvent
from oomscope.sources.kernel_log.continuation import joined
from oomscope.sources.kernel_log.prefixes import LogLine
from oomscope.sources.kernel_log.report.assembler import EventReader
from oomscope.sources.kernel_log.report.beginnings import begins_alone, is_of_a_report
from oomscope.sources.kernel_log.report.header import is_sysrq_kill, opens

_SYSRQ_LINES = 20


class EventsReader:
    """Finds events in a stream of lines.

    Lines of one caller (printk's [T123]) belong to one event, so that reports of two CPUs are told apart where the log
    says which is whose. The last events are kept, and of their task tables as many rows as bounds.py says.
    """

    def __init__(self) -> None:
        self.left_out = 0
        self._closed: deque[EventReader] = deque()
        self._with_tasks: deque[EventReader] = deque()  # those of the closed ones that have their whole task table
        self._blank_lines = 0  # in a row
        self._task_rows = 0  # of those together
        self._sysrq_line: int | None = None
        self._open: dict[bytes | None, EventReader] = {}

    @property
    def is_reading(self) -> bool:
        """Whether an event is open, so that every line counts."""
        return bool(self._open)

    def take(self, lines: Iterable[LogLine]) -> None:
        """Take some lines of the log, whole."""
        for line in joined(lines):
            self._take(line)

    def pass_blank_line(self) -> None:
        """One more line that holds nothing: after many in a row whatever is open is over."""
        self._blank_lines += 1
        if self._blank_lines > bounds.EVENT_LINES:
            for caller in list(self._open):
                self._close(caller)

    def events(self) -> tuple[OomEvent, ...]:
        """End what is still open: all events that are kept, in the order of the log."""
        for caller in list(self._open):
            self._close(caller)
        found = [reader.event() for reader in self._closed]
        return tuple(sorted(found, key=lambda event: event.first_line))

    def _take(self, line: LogLine) -> None:
        if len(line.text) > bounds.LOG_LINE_BYTES:
            return
        if not line.text and not self._open:
            return
        self._blank_lines = 0
        key = line.caller
        reader = self._open.get(key)
        kind = opens(line)
        if kind is not None and not (reader is not None and reader.has_room_for(kind, line)):
            reader = self._begun(key, EventReader(kind, line, after_sysrq=self._was_sysrq(line)))
        else:
            if is_sysrq_kill(line):
                self._sysrq_line = line.number
            alone = begins_alone(line)
            if alone is None and reader is None and is_of_a_report(line):
                alone = SHOWN
            if alone is not None and (reader is None or not reader.has_room_for(alone, line)):
                if reader is None and line.caller is not None and (other := self._of_panic(line, alone)) is not None:
                    reader = other
                else:
                    reader = self._begun(key, EventReader(alone, line))
        if reader is None:
            return
        reader.take(line)
        if reader.is_over:
            self._close(key)

    def _begun(self, caller: bytes | None, reader: EventReader) -> EventReader:
        """An event that begins ends the one of its caller; of too many at once, the oldest ends."""
        self._close(caller)
        if len(self._open) >= bounds.OPEN_EVENTS:
            self._close(next(iter(self._open)))
        self._open[caller] = reader
        return reader

    def _was_sysrq(self, line: LogLine) -> bool:
        """Whether SysRq-f stands shortly above: it calls the OOM killer, which then prints its header."""
        return self._sysrq_line is not None and line.number - self._sysrq_line <= _SYSRQ_LINES

    def _of_panic(self, line: LogLine, kind: str) -> EventReader | None:
        """A panic that another context announces ends the event that is open."""
        if b"panic" not in line.text:
            return None
        readers = [reader for reader in self._open.values() if reader.has_room_for(kind, line)]
        return readers[-1] if readers else None

    def _close(self, caller: bytes | None) -> None:
        reader = self._open.pop(caller, None)
        if reader is None:
            return
        self._closed.append(reader)
        self._with_tasks.append(reader)
        self._task_rows += reader.task_rows
        if len(self._closed) > bounds.EVENTS:
            oldest = self._closed.popleft()
            self.left_out += 1
            if self._with_tasks[0] is oldest:
                self._task_rows -= self._with_tasks.popleft().task_rows
        while self._task_rows > bounds.TASKS_OF_LOG and len(self._with_tasks) > 1:
            earlier = self._with_tasks.popleft()
            self._task_rows -= earlier.task_rows
            earlier.keep_greatest_tasks(bounds.TASKS_OF_EARLIER)
