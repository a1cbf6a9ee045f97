"""The OOM events of a log, in the order of the log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from oomscope.model.oom_event import OomEvent
from oomscope.sources.kernel_log.joined import joined
from oomscope.sources.kernel_log.line import LogLine
from oomscope.sources.kernel_log.report import EventReader, begins_alone, opens

_EVENTS_KEPT = 10_000


class EventsReader:
    """Finds events in a stream of lines.

    Lines of one caller (printk's [T123]) belong to one event, so that reports of two CPUs are told apart where the log
    says which is whose.
    """

    def __init__(self) -> None:
        self.events: list[OomEvent] = []
        self.left_out = 0
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
        self.events.sort(key=lambda event: event.first_line)

    def _take(self, line: LogLine) -> None:
        if len(line.text) > 1 << 14:
            return
        key = line.caller if line.caller in self._open or line.caller is not None else None
        reader = self._open.get(key)
        kind = opens(line)
        if kind is not None and not (reader is not None and reader.has_room_for(kind, line)):
            self._close(key)
            reader = self._open[key] = EventReader(kind, line)
        else:
            alone = begins_alone(line)
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

    def _of_panic(self, line: LogLine, kind: str) -> EventReader | None:
        """A panic that another context announces ends the event that is open."""
        readers = [reader for reader in self._open.values() if reader.has_room_for(kind, line)]
        return readers[-1] if readers and b"panic" in line.text else None

    def _close(self, caller: bytes | None) -> None:
        reader = self._open.pop(caller, None)
        if reader is None:
            return
        if len(self.events) < _EVENTS_KEPT:
            self.events.append(reader.event())
        else:
            self.left_out += 1


def events_in_order(events: Iterable[OomEvent]) -> Iterator[OomEvent]:
    """Events in the order of their time stamps where all of them have one, else in that of the log."""
    listed = list(events)
    stamps = [event.at_ns for event in listed]
    if any(stamp is None for stamp in stamps):
        return iter(listed)
    return iter(sorted(listed, key=lambda event: event.at_ns or 0))
