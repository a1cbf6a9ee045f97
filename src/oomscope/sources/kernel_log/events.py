"""The OOM events of a log, in the order of the log."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

from oomscope import bounds
from oomscope.model.oom_event import KILL, PANIC, SHOWN, OomEvent
from oomscope.sources.kernel_log.continuation import joined
from oomscope.sources.kernel_log.prefixes import LogLine
from oomscope.sources.kernel_log.report.assembler import EventReader
from oomscope.sources.kernel_log.report.beginnings import (
    begins_alone,
    begins_in_its_trace,
    is_left_of_a_kill,
    is_of_a_report,
    may_begin,
)
from oomscope.sources.kernel_log.report.header import is_context, is_sysrq_kill, opens
from oomscope.sources.procfs.version import RELEASE
from oomscope.text import printable

_SYSRQ_LINES = 20
_SYSRQ_NS = 10 * 10**9
_CONTEXT_LINES = 16  # between the line of the CPU and the frame that printed a report
_BOOT = b"Linux version "
_BOOT_LINES = 4
_BOOT_NS = 60 * 10**9  # stamps that fall by more than that, to below it, are those of another boot


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
        self._sysrq: LogLine | None = None
        self._context: deque[LogLine] = deque(maxlen=_CONTEXT_LINES)
        self._boots: list[int] = []  # the lines with which another boot begins
        self._releases: list[tuple[int, str]] = []  # the lines on which a kernel names itself
        self._at_ns: dict[bytes | None, int] = {}  # the last stamp, by caller
        self._fallen: list[int] = []  # the last lines, whose stamps are of another boot, or out of place
        self._open: dict[bytes | None, EventReader] = {}

    @property
    def is_reading(self) -> bool:
        """Whether an event is open, so that every line counts."""
        return bool(self._open)

    @property
    def is_idle(self) -> bool:
        """Whether what is open has met nothing of its own for long: lines without a telling word may be passed over."""
        for reader in self._open.values():  # noqa: SIM110 - asked for each line
            if not reader.is_idle:
                return False
        return True

    def pass_idle_lines(self, count: int) -> None:
        """So many more lines that nothing open can be of; what has waited for too long is over."""
        for caller, reader in list(self._open.items()):
            reader.pass_lines(count)
            if reader.is_over:
                self._close(caller)

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
        if self._fallen:
            self._begin_boot(self._fallen[0])
        found = sorted((reader.event() for reader in self._closed), key=lambda event: event.first_line)
        return tuple(self._of_boots(found))

    def _of_boots(self, found: list[OomEvent]) -> Iterator[OomEvent]:
        """Each with its boot; one that does not name its kernel has its boot's, by its beginning or by other events."""
        boots = [bisect_right(self._boots, event.first_line) for event in found]
        releases = {bisect_right(self._boots, number): release for number, release in self._releases}
        for event, boot in zip(found, boots, strict=True):
            if event.release is not None:
                releases.setdefault(boot, event.release)
        for event, boot in zip(found, boots, strict=True):
            release = event.release or releases.get(boot)
            is_told = (event.boot, event.release) == (boot, release)
            yield event if is_told else replace(event, boot=boot, release=release)

    def _take(self, line: LogLine) -> None:
        if len(line.text) > bounds.LOG_LINE_BYTES or not (line.text or self._open):
            return
        self._blank_lines = 0
        if line.may_begin or line.at_ns is not None:
            self._see_boot(line)
        key = line.caller
        reader = self._open.get(key)
        if line.may_begin:
            reader = self._begun_with(line, reader)
        if reader is None:
            self._context.append(line)
            return
        reader.take(line)
        if reader.is_over:
            self._close(key)

    def _begun_with(self, line: LogLine, reader: EventReader | None) -> EventReader | None:
        """The event that a line of its caller is of: `reader`, the open one, or another that begins with it."""
        begins = may_begin(line)
        if reader is not None and not begins:
            return reader
        key = line.caller
        kind = opens(line) if begins else None
        if kind is not None and not (reader is not None and reader.has_room_for(kind, line)):
            return self._begun(key, EventReader(kind, line, after_sysrq=self._was_sysrq(line)))
        if is_sysrq_kill(line):
            self._sysrq = line
        alone = begins_alone(line) if begins else None
        if alone is None and reader is None:
            if is_of_a_report(line):
                alone = SHOWN
            elif is_left_of_a_kill(line):
                alone = KILL
            elif (kind := begins_in_its_trace(line)) is not None:
                reader = self._begun_in_its_trace(key, kind, line)
        if alone is not None and (reader is None or not reader.has_room_for(alone, line)):
            if reader is None and line.caller is not None and (other := self._of_panic(line, alone)) is not None:
                reader = other
            else:
                by_hand = alone == PANIC and self._was_sysrq(line)
                reader = self._begun(key, EventReader(alone, line, after_sysrq=by_hand))
        return reader

    def _see_boot(self, line: LogLine) -> None:
        """A kernel begins with its own name, and counts time from then; one line, or a few, may be out of place."""
        if line.may_begin and line.text.startswith(_BOOT):
            if self._at_ns or self._closed or self._open:
                self._begin_boot(line.number)
            if (match := RELEASE.match(line.text)) is not None:
                self._releases.append((line.number, printable(match["release"])))
        at_ns = line.at_ns
        if at_ns is None:
            return
        if at_ns < _BOOT_NS and self._at_ns.get(line.caller, 0) - at_ns > _BOOT_NS:
            self._fallen.append(line.number)
            if len(self._fallen) < _BOOT_LINES:
                return
            self._begin_boot(self._fallen[0])
        self._fallen.clear()
        if len(self._at_ns) >= bounds.OPEN_EVENTS:
            self._at_ns.clear()
        self._at_ns[line.caller] = at_ns

    def _begin_boot(self, number: int) -> None:
        for caller, reader in list(self._open.items()):
            if reader.first_line < number:
                self._close(caller)
        self._boots.append(number)
        self._fallen.clear()
        self._at_ns.clear()
        self._context.clear()

    def _begun_in_its_trace(self, caller: bytes | None, kind: str, line: LogLine) -> EventReader:
        """An event that a frame is the first line of; it begins with the line of its CPU where that is left."""
        before = list(self._context)
        at = max((at for at, each in enumerate(before) if is_context(each)), default=len(before))
        taken = [each for each in before[at:] if each.caller == caller]
        reader = self._begun(caller, EventReader(kind, taken[0] if taken else line))
        for each in taken:
            reader.take(each)
        self._context.clear()
        return reader

    def _begun(self, caller: bytes | None, reader: EventReader) -> EventReader:
        """An event that begins ends the one of its caller; of too many at once, the oldest ends."""
        self._close(caller)
        if len(self._open) >= bounds.OPEN_EVENTS:
            self._close(next(iter(self._open)))
        self._open[caller] = reader
        return reader

    def _was_sysrq(self, line: LogLine) -> bool:
        """Whether SysRq-f stands shortly above: it calls the OOM killer, which then prints its header."""
        called = self._sysrq
        if called is None or line.number - called.number > _SYSRQ_LINES:
            return False
        return line.at_ns is None or called.at_ns is None or line.at_ns - called.at_ns <= _SYSRQ_NS

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
