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
_MOST_BYTES = 4 << 20
_MOST_S = 120.0  # of a report that goes on and on
_CONTEXT_LINES = 16  # before the first telling one: the CPU and the task of a trace
_KILLED_KEPT = 256
# "Linux version" begins a boot, and no report; who talks of a killer by name need not be one.
_OPENS = re.compile(b"|".join(re.escape(word) for word in TRIGGERS if word != b"Linux version "))
_HEADER = re.compile(
    rb"invoked oom-killer: |page allocation (?:failure|stalls)|vmap allocation for size|vmalloc error: "
)
_BODY = re.compile(rb"Mem-[Ii]nfo:|Memory cgroup stats|[Kk]ill(?:ed)? process ")
_KILLED = re.compile(rb"[Kk]ill(?:ed|ing)? process (?P<pid>\d{1,9})")
_REAPED = re.compile(rb"oom_reaper: reaped process (?P<pid>\d{1,9}) ")


@dataclass
class Stretch:
    """Lines of one report, or of several that are mixed. Times are the caller's clock, in seconds."""

    begun_at: float
    telling_at: float
    lines: list[bytes] = field(default_factory=list)
    size_bytes: int = 0
    has_body: bool = False  # its counters, or its end: another header begins another report
    caller: bytes | None = None  # of its last header
    position: Position = ()
    groups: tuple[str, str] | None = None  # memory cgroups of it: the limited one, and the killed task's
    surroundings: Surroundings | None = None  # what was read of the machine when it began
    source: str = ""  # the log's name

    @property
    def text(self) -> bytes:
        """Its lines as a log."""
        return b"\n".join(self.lines) + b"\n"


class Collector:
    """Takes the lines of one follower; gives out stretches that are whole.

    `position` is where to go on after a restart: behind all that was given out, before what is still open.
    """

    def __init__(self, source: str = "") -> None:
        self._source = source
        self.position: Position = ()
        self._open: Stretch | None = None
        self._context: deque[bytes] = deque(maxlen=_CONTEXT_LINES)
        self._killed: deque[bytes] = deque(maxlen=_KILLED_KEPT)

    @property
    def opened(self) -> Stretch | None:
        """The report that is being read."""
        return self._open

    def take(self, line: FollowedLine, now: float) -> Iterator[Stretch]:
        """One more line; the stretch that it ends, if it does."""
        text = line.text
        is_header = _HEADER.search(text) is not None
        stretch = self._open
        if stretch is not None and is_header and stretch.has_body and stretch.caller == line.caller:
            yield self._closed(stretch)
            stretch = None
        if stretch is None:
            if not is_header and (_OPENS.search(text) is None or self._is_remainder(text)):
                self._context.append(text)
                self.position = line.position
                return
            stretch = self._open = Stretch(now, now, list(self._context), source=self._source)
            stretch.size_bytes = sum(map(len, stretch.lines))
        if is_header:
            stretch.caller = line.caller
        if _BODY.search(text) is not None:
            stretch.has_body = True
        stretch.lines.append(text)
        stretch.size_bytes += len(text)
        stretch.position = line.position
        if OF_INTEREST.search(text) is not None:
            stretch.telling_at = now
        if (killed := _KILLED.search(text)) is not None:
            self._killed.append(killed["pid"])
        if (groups := groups_of(text)) is not None:
            stretch.groups = groups
        if stretch.size_bytes > _MOST_BYTES:
            yield self._closed(stretch)

    def silent(self, now: float) -> Stretch | None:
        """The stretch whose report has gone silent, if it has."""
        stretch = self._open
        if stretch is None or (now - stretch.telling_at < SILENT_S and now - stretch.begun_at < _MOST_S):
            return None
        return self._closed(stretch)

    def wait_s(self, now: float) -> float | None:
        """How long to wait for silence; None where nothing is open."""
        return None if self._open is None else max(0.0, SILENT_S - (now - self._open.telling_at))

    def _closed(self, stretch: Stretch) -> Stretch:
        self._open, self.position = None, stretch.position
        self._context.clear()
        return stretch

    def _is_remainder(self, text: bytes) -> bool:
        """Whether a line ends a kill that was given out already: the reaper may take its time."""
        reaped = _REAPED.search(text)
        return reaped is not None and reaped["pid"] in self._killed
