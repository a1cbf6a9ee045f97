"""The OOM events of a log, in the order of the log."""

from __future__ import annotations

from collections.abc import Iterable

from oomscope.model.oom_event import SHOWN, OomEvent
from oomscope.sources.kernel_log.joined import joined
from oomscope.sources.kernel_log.line import LogLine
from oomscope.sources.kernel_log.report import (
    EventReader,
    begins_alone,
    is_of_a_report,
    is_sysrq_kill,
    opens,
)

_EVENTS_KEPT = 2_000
_SYSRQ_LINES = 20


class EventsReader:
    """Finds events in a stream of lines.

    Lines of one caller (printk's [T123]) belong to one event, so that reports of two CPUs are told apart where the log
    says which is whose.
    """

    def __init__(self) -> None:
        self.events: list[OomEvent] = []
        self.left_out = 0
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

    def finish(self) -> None:
        """End what is still open."""
        for caller in list(self._open):
            self._close(caller)
        self._forget()
        self.events.sort(key=lambda event: event.first_line)

    def _forget(self) -> None:
        """The last events are explained: of too many, the first ones go."""
        self.left_out += max(len(self.events) - _EVENTS_KEPT, 0)
        del self.events[:-_EVENTS_KEPT]

    def _take(self, line: LogLine) -> None:
        if len(line.text) > 1 << 14:
            return
        key = line.caller if line.caller in self._open or line.caller is not None else None
        reader = self._open.get(key)
        kind = opens(line)
        if kind is not None and not (reader is not None and reader.has_room_for(kind, line)):
            self._close(key)
            reader = self._open[key] = EventReader(kind, line, after_sysrq=self._was_sysrq(line))
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
                    self._close(key)
                    reader = self._open[key] = EventReader(alone, line)
        if reader is None:
            return
        reader.take(line)
        if reader.is_over:
            self._close(key)

    def _was_sysrq(self, line: LogLine) -> bool:
        """Whether SysRq-f stands shortly above: it calls the OOM killer, which then prints its header."""
        return self._sysrq_line is not None and line.number - self._sysrq_line <= _SYSRQ_LINES

    def _of_panic(self, line: LogLine, kind: str) -> EventReader | None:
        """A panic that another context announces ends the event that is open."""
        readers = [reader for reader in self._open.values() if reader.has_room_for(kind, line)]
        return readers[-1] if readers and b"panic" in line.text else None

    def _close(self, caller: bytes | None) -> None:
        reader = self._open.pop(caller, None)
        if reader is None:
            return
        self.events.append(reader.event())
        if len(self.events) > 2 * _EVENTS_KEPT:
            self._forget()
