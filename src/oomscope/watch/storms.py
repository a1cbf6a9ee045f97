"""Many OOMs of one cause and one memory cgroup are one incident: the first is told in full, the others are counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from oomscope.model.notice import STORM, Incident
from oomscope.units import counted, duration_text

QUIET_S = 60.0
_EVERY_S = 600.0  # a storm that goes on is told of that often
_MOST_OPEN = 1000


@dataclass
class _Storm:
    first: Incident
    begun_at: float
    latest_at: float
    told_at: float
    untold: int = 0


class Storms:
    """What is going on, by signature and cgroup. Times are when things happened, in seconds since the epoch."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], _Storm] = {}

    def take(self, incident: Incident) -> Iterator[Incident]:
        """An OOM: itself, where it is the first of its kind; what has to be told of others before it."""
        now = incident.at
        yield from self.due(now)
        assert incident.notice is not None
        group = incident.notice.group or incident.notice.task_group or ""
        key = (incident.notice.signature_id, group)
        if len(self._open) >= _MOST_OPEN and key not in self._open:
            key = (incident.notice.signature_id, "")
        storm = self._open.get(key)
        if storm is None:
            if len(self._open) >= 2 * _MOST_OPEN:
                yield from self._told(next(iter(self._open)), now, is_over=True)
            kept = replace(incident, log=b"", surroundings=None)  # a thousand of them are no burden
            self._open[key] = _Storm(kept, now, now, now)
            yield incident
            return
        storm.untold += 1
        storm.latest_at = max(now, storm.latest_at)

    def due(self, now: float) -> Iterator[Incident]:
        """The storms that are over, or have not been told of for long."""
        for key, storm in list(self._open.items()):
            if abs(now - storm.latest_at) >= QUIET_S:  # also where the clock was set
                yield from self._told(key, now, is_over=True)
            elif storm.untold and now - storm.told_at >= _EVERY_S:
                yield from self._told(key, now, is_over=False)

    def all(self) -> Iterator[Incident]:
        """Everything that is still untold: the watch ends."""
        for key, storm in list(self._open.items()):
            yield from self._told(key, storm.latest_at, is_over=True)

    def wait_s(self, now: float) -> float | None:
        """How long until something is due."""
        if not self._open:
            return None
        return max(1.0, min(storm.latest_at + QUIET_S for storm in self._open.values()) - now)

    def _told(self, key: tuple[str, str], now: float, *, is_over: bool) -> Iterator[Incident]:
        storm = self._open[key]
        if is_over:
            del self._open[key]
        if storm.untold:
            span = duration_text(int((storm.latest_at - storm.begun_at) * 1e9))
            notice = storm.first.notice
            assert notice is not None
            text = f"{counted(storm.untold, 'event')} more like it within {span}: {notice.headline}"
            yield replace(
                storm.first,
                kind=STORM,
                text=text,
                count=storm.untold,
                first_at=storm.first.at,
                at=storm.first.at + (storm.latest_at - storm.begun_at),
            )
        storm.untold, storm.told_at = 0, now
