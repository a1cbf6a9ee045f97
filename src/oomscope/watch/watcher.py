"""The watch itself: one thread that waits for lines, has reports judged, and passes on what they tell."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from oomscope.errors import OomscopeError
from oomscope.model.notice import LOST, OOM, Incident, OomNotice, Surroundings
from oomscope.watch.armed_reports import armed_lines
from oomscope.watch.bookmarks import Bookmarks
from oomscope.watch.cgroup_places import place_of
from oomscope.watch.collector import Collector, Stretch
from oomscope.watch.followers import journal, kmsg
from oomscope.watch.followers.follower import FollowedLine, Follower, Position
from oomscope.watch.judging import Judging
from oomscope.watch.near_limit import EVERY_S, NearLimit
from oomscope.watch.outlets.outlet import Queued
from oomscope.watch.sampling import Sampling
from oomscope.watch.storms import Storms
from oomscope.watch.surroundings import of_cgroup, of_machine

_FILE_EVERY_S = 0.5  # a file that is followed is looked at that often
_LOST_EVERY_S = 10.0
_KEPT_EVERY_S = 30.0  # how far logs were read, where nothing was told meanwhile
_END_S = 10.0
_LATE_S = 10.0  # what happened longer ago is of the past: what the machine has now is not of it
_LINES_A_TURN = 20_000
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Watcher:
    """Follows logs until `stop` is called. `is_of_this_machine` tells that the logs are this machine's own.

    `whole` has all that `explain` prints in each notice. `lines_read` and `incidents_told` count; `failure` is why the
    last log could no more be followed.
    """

    def __init__(
        self,
        followers: Sequence[Follower],
        outlets: Sequence[Queued],
        bookmarks: Bookmarks,
        *,
        near: NearLimit | None = None,
        sampling: Sampling | None = None,
        is_of_this_machine: bool = True,
        whole: bool = False,
        root: Path = Path("/"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._followers = list(followers)
        self._collectors = {follower.name: Collector(follower.name) for follower in followers}
        self._reading: dict[str, Iterator[FollowedLine]] = {}  # lines of a log that wait until others are judged
        self._outlets, self._bookmarks, self._near, self._sampling = outlets, bookmarks, near, sampling
        self._is_local, self._root, self._clock = is_of_this_machine, root, clock
        self._judging, self._storms = Judging(whole=whole), Storms()
        self._kept: dict[str, Position] = {}
        self._lost: dict[str, int] = {}  # what was lost so far, and told
        self.lines_read = self.incidents_told = 0
        self.failure: OomscopeError | None = None
        self._near_at = self._lost_at = self._kept_at = clock()
        self._stop_read, self._stop_write = os.pipe()
        self._is_over = False

    def stop(self) -> None:
        """Have `run` end; may be called by a signal's handler."""
        with suppress(OSError):
            os.write(self._stop_write, b"\0")

    def run(self, *, until_read: bool = False) -> None:
        """Until `stop`, or until no outlet is left; with `until_read`, until what the logs hold now has been told."""
        idle_turns = 0
        try:
            while not self._is_over:
                read_before = self.lines_read
                self._turn()
                is_idle = not self._is_open and not self._reading and self.lines_read == read_before
                idle_turns = idle_turns + 1 if is_idle else 0
                if until_read and idle_turns > 1:  # a last line without its end is taken at the second look
                    break
                if until_read and is_idle:
                    time.sleep(_FILE_EVERY_S)
        finally:
            self._end()

    @property
    def _is_open(self) -> bool:
        return self._judging.is_busy or any(each.is_open for each in self._collectors.values())

    def _turn(self) -> None:
        for follower in list(self._followers):
            if not self._judging.is_full:
                self._take_lines(follower)
        now = self._clock()
        for name, collector in self._collectors.items():
            if name not in self._reading:
                for stretch in collector.silent(now):
                    self._judging.give(stretch, now)
        self._take_answers()
        if not self._is_open:
            self._tell(self._storms.due(time.time()))
        self._look_after(self._clock())
        if not self._is_over:
            self._wait()

    def _take_answers(self) -> None:
        for stretch, answered in self._judging.take(self._clock()):
            if answered.failure:
                self._lose("reports", 1, answered.failure)
            for notice in answered.notices:
                self._tell(self._storms.take(self._incident(notice, stretch)))

    def _take_lines(self, follower: Follower) -> None:
        collector = self._collectors[follower.name]
        try:
            lines = self._reading.pop(follower.name, None) or follower.lines()
            for number, line in enumerate(lines):
                self.lines_read += 1
                was_open = collector.opened(line.caller)
                for stretch in collector.take(line, self._clock()):
                    self._judging.give(stretch, self._clock())
                opened = collector.opened(line.caller)
                if opened is not None and self._is_local:
                    self._see_surroundings(opened, is_new=opened is not was_open)
                if self._judging.is_full or number >= _LINES_A_TURN:
                    self._reading[follower.name] = lines
                    return
        except OomscopeError as error:
            self._followers.remove(follower)
            self.failure = error
            self._lose("logs that were followed", 1, str(error))
            self._is_over = not self._followers

    def _see_surroundings(self, stretch: Stretch, *, is_new: bool) -> None:
        if is_new and not self._reading:  # what is read in one go is of the past
            stretch.surroundings = of_machine(self._root, _PAGE_BYTES)
            stretch.seen_at = time.clock_gettime(time.CLOCK_MONOTONIC), time.time()
        beside = stretch.surroundings
        if stretch.groups is None or beside is None or beside.cgroup_stat:
            return
        stat, files = of_cgroup(_whose(stretch.groups), self._root)
        stretch.surroundings = replace(beside, cgroup_stat=stat, files={**beside.files, **files})

    def _incident(self, notice: OomNotice, stretch: Stretch) -> Incident:
        now = time.time()
        at = now if notice.stamped_at is None else notice.stamped_at
        if stretch.source in (kmsg.PATH, journal.NAME) and notice.at_ns is not None:
            at = min(now, now - time.clock_gettime(time.CLOCK_MONOTONIC) + notice.at_ns / 1e9)
        beside = self._beside(notice, stretch) if self._was_seen(notice, stretch) else None
        groups = None if notice.task_group is None else (notice.group or "/", notice.task_group)
        group = notice.group if groups is None else _whose(groups)
        return Incident(
            OOM,
            at,
            notice.short,
            stretch.source,
            notice,
            beside,
            place=None if group is None else place_of(group, self._root if self._is_local else None),
            host=os.uname().nodename if self._is_local else notice.host,
            log=stretch.text,
        )

    def _was_seen(self, notice: OomNotice, stretch: Stretch) -> bool:
        """Whether the machine was looked at when it happened, by the log's own time."""
        since_boot_s, since_epoch_s = stretch.seen_at
        if stretch.source in (kmsg.PATH, journal.NAME):
            return notice.at_ns is not None and abs(since_boot_s - notice.at_ns / 1e9) < _LATE_S
        return notice.stamped_at is not None and abs(since_epoch_s - notice.stamped_at) < _LATE_S

    def _beside(self, notice: OomNotice, stretch: Stretch) -> Surroundings | None:
        beside = stretch.surroundings
        if beside is None:
            return None
        if stretch.groups is not None and notice.task_group != stretch.groups[1]:
            beside = replace(beside, cgroup_stat={})  # of another one in these lines
        return replace(beside, armed=armed_lines(self._root, notice.at_ns))

    def _tell(self, incidents: Iterable[Incident]) -> None:
        for incident in incidents:
            self.incidents_told += 1
            self._kept_at = self._clock() - _KEPT_EVERY_S
            for outlet in self._outlets:
                outlet.put(incident)
        if all(outlet.is_gone for outlet in self._outlets):
            self._is_over = True

    def _keep(self) -> None:
        waiting = self._judging.sources
        positions = {name: each.position for name, each in self._collectors.items() if name not in waiting}
        if positions == {name: self._kept.get(name) for name in positions}:
            return
        try:
            self._bookmarks.write(positions)
            self._kept |= positions
        except OomscopeError as error:
            self._lose("notes of how far the logs were read", 1, str(error))

    def _look_after(self, now: float) -> None:
        if self._near is not None and now - self._near_at >= EVERY_S:
            self._near_at = now
            self._tell(self._near.due(now))
        if self._sampling is not None:
            self._tell(self._sampling.due(now))
        if now - self._kept_at >= _KEPT_EVERY_S:
            self._kept_at = now
            self._keep()
        if now - self._lost_at >= _LOST_EVERY_S:
            self._lost_at = now
            for what, count, reason, outlet in self.losses():
                self._lose(what, count, reason, but=outlet)

    def losses(self) -> list[tuple[str, int, str, Queued | None]]:
        """What was lost since this was asked last: what, how many, why, and the outlet whose loss it is."""
        found: list[tuple[str, int, str, Queued | None]] = [
            (f"records of {each.name}", each.lost_records, "they were overwritten before they could be read", None)
            for each in self._followers
        ]
        found.append(("reports", self._judging.lost, self._judging.reason, None))
        found += [(f"incidents for {each.outlet.name}", each.lost, each.reason, each) for each in self._outlets]
        more = []
        for what, count, reason, outlet in found:
            before = self._lost.get(what, 0)
            if count > before:
                self._lost[what] = count
                more.append((what, count - before, reason, outlet))
        return more

    def _lose(self, what: str, count: int, reason: str, *, but: Queued | None = None) -> None:
        """Tell it to all outlets but the one whose loss it is."""
        figures: dict[str, int | float | str] = {"what": what, "reason": reason}
        text = f"lost {count:,} of the {what}: {reason}"
        incident = Incident(LOST, time.time(), text, what, count=count, figures=figures)
        for outlet in self._outlets:
            if outlet is not but:
                outlet.put(incident)

    def _wait(self) -> None:
        now = self._clock()
        waits = [each.wait_s(now) for name, each in self._collectors.items() if name not in self._reading]
        waits += [self._judging.wait_s(now), None if self._is_open else self._storms.wait_s(time.time())]
        if any(follower.fileno() is None for follower in self._followers):
            waits.append(_FILE_EVERY_S)
        if self._near is not None:
            waits.append(max(0.0, self._near_at + EVERY_S - now))
        if self._sampling is not None:
            waits.append(self._sampling.wait_s(now))
        if self._kept_at < now and self._has_news:
            waits.append(max(0.0, self._kept_at + _KEPT_EVERY_S - now))
        if any(each.lost > self._lost.get(f"incidents for {each.outlet.name}", 0) for each in self._outlets):
            waits.append(max(0.0, self._lost_at + _LOST_EVERY_S - now))
        readable, writable = self._judging.filenos()
        if not self._judging.is_full:
            readable += [fd for follower in self._followers if (fd := follower.fileno()) is not None]
            waits += [0.0] * len(self._reading)
        if self._sampling is not None:
            readable += self._sampling.filenos()
        until = min((wait for wait in waits if wait is not None), default=None)
        ready, _, _ = select.select([*readable, self._stop_read], writable, [], until)
        if self._stop_read in ready:
            self._is_over = True

    @property
    def _has_news(self) -> bool:
        return any(each.position != self._kept.get(name, ()) for name, each in self._collectors.items())

    def _end(self) -> None:
        if not self._bookmarks.is_kept:  # else what is open is read anew after a restart
            for collector in self._collectors.values():
                for stretch in collector.close():
                    self._judging.give(stretch, self._clock())
        deadline = self._clock() + _END_S
        while self._judging.is_busy and self._clock() < deadline:
            readable, writable = self._judging.filenos()
            select.select(readable, writable, [], _FILE_EVERY_S)
            self._take_answers()
        self._tell(self._storms.all())
        for what, count, reason, outlet in self.losses():
            self._lose(what, count, reason, but=outlet)
        for queued in self._outlets:
            queued.close()
        self._keep()  # behind what was told, and not before
        self._judging.close()
        for follower in self._followers:
            follower.close()
        if self._sampling is not None:
            self._sampling.close()
        with suppress(OSError):
            os.close(self._stop_read)
            os.close(self._stop_write)


def _whose(groups: tuple[str, str]) -> str:
    """The limited group is whose limit it was; the task's is the container, where the limit is the pod's or RAM."""
    limited, task = groups
    return task if limited == "/" or task.startswith(limited.rstrip("/") + "/") else limited
