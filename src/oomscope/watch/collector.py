"""Which lines of a log belong to one report: a stretch is whole when the report went silent, or the next one begins."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from oomscope.model.notice import Surroundings
from oomscope.sources.kernel_log.interest import OF_INTEREST
from oomscope.sources.kernel_log.prefilter import TRIGGERS
from oomscope.watch.followers.follower import FollowedLine, Position
from oomscope.watch.kill_line import groups_of

SILENT_S = 1.0
_MOST_BYTES = 1 << 20
_MOST_S = 120.0  # of a report that goes on and on
_MOST_DULL_LINES = 2000  # read in one go, without a telling one among them: what follows is of something else
_CONTEXT_LINES = 16  # before the first telling one: the CPU and the task of a trace
# "Linux version" begins a boot, and no report; who talks of a killer by name need not be one.
_OPENS = re.compile(b"|".join(re.escape(word) for word in TRIGGERS if word != b"Linux version "))
_HEADER = re.compile(
    rb"invoked oom-killer: |page allocation (?:failure|stalls)|vmap allocation for size|vmalloc error: "
)
_BODY = re.compile(rb"Mem-[Ii]nfo:|Memory cgroup stats|[Kk]ill(?:ed)? process ")
_REAPED = re.compile(rb"oom_reaper: reaped process \d")


@dataclass
class Stretch:
    """Lines of one report. Times are the caller's clock, in seconds; `before` is the position in front of it."""

    begun_at: float
    telling_at: float
    before: Position
    source: str  # the log's name
    lines: list[bytes] = field(default_factory=list)
    size_bytes: int = 0
    dull_lines: int = 0
    has_body: bool = False  # its counters, or its end: another header begins another report
    groups: tuple[str, str] | None = None  # memory cgroups of it: the limited one, and the killed task's
    surroundings: Surroundings | None = None  # what was read of the machine when it began
    seen_at: tuple[float, float] = (0.0, 0.0)  # when that was, since boot and since the epoch

    @property
    def text(self) -> bytes:
        """Its lines as a log."""
        return b"\n".join(self.lines) + b"\n"


class Collector:
    """Takes the lines of one follower; gives out stretches that are whole.

    Where the kernel tells callers, the lines of each are a stretch of their own: two processors may report at once.
    `position` is where to go on after a restart: behind all that was given out, before what is still open.
    """

    def __init__(self, source: str = "") -> None:
        self._source = source
        self._read: Position = ()
        self._open: dict[bytes | None, Stretch] = {}
        self._context: deque[FollowedLine] = deque(maxlen=_CONTEXT_LINES)

    @property
    def position(self) -> Position:
        """See the class."""
        return next(iter(self._open.values())).before if self._open else self._read

    @property
    def is_open(self) -> bool:
        """Whether a report is being read."""
        return bool(self._open)

    def opened(self, caller: bytes | None) -> Stretch | None:
        """The report that a caller's lines are of."""
        return self._open.get(caller)

    def take(self, line: FollowedLine, now: float) -> Iterator[Stretch]:
        """One more line; the stretch that it ends, if it does."""
        text, stretch = line.text, self._open.get(line.caller)
        is_header = _HEADER.search(text) is not None
        if stretch is not None and ((is_header and stretch.has_body) or stretch.dull_lines > _MOST_DULL_LINES):
            yield self._closed(line.caller)
            stretch = None
        before, self._read = self._read, line.position
        if stretch is None:
            # The reaper may take its time: by then the kill was told, and its line alone says nothing.
            if not is_header and (_OPENS.search(text) is None or _REAPED.search(text) is not None):
                self._context.append(line)
                return
            context = [each.text for each in self._context if each.caller == line.caller]
            stretch = self._open[line.caller] = Stretch(now, now, before, self._source, context)
            stretch.size_bytes = sum(map(len, context))
        stretch.lines.append(text)
        stretch.size_bytes += len(text)
        if _BODY.search(text) is not None:
            stretch.has_body = True
        if OF_INTEREST.search(text) is None:
            stretch.dull_lines += 1
        else:
            stretch.telling_at, stretch.dull_lines = now, 0
        if (groups := groups_of(text)) is not None:
            stretch.groups = groups
        if stretch.size_bytes > _MOST_BYTES:
            yield self._closed(line.caller)

    def silent(self, now: float) -> list[Stretch]:
        """The stretches whose reports have gone silent."""
        return [
            self._closed(caller)
            for caller, stretch in list(self._open.items())
            if now - stretch.telling_at >= SILENT_S or now - stretch.begun_at >= _MOST_S
        ]

    def close(self) -> list[Stretch]:
        """What is open, though more of it may come."""
        return [self._closed(caller) for caller in list(self._open)]

    def wait_s(self, now: float) -> float | None:
        """How long to wait for silence; None where nothing is open."""
        return min((max(0.0, SILENT_S - (now - each.telling_at)) for each in self._open.values()), default=None)

    def _closed(self, caller: bytes | None) -> Stretch:
        self._context.clear()
        return self._open.pop(caller)
