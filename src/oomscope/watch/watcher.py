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
from oomscope.model.notice import LOST, OOM, Incident, OomNotice
from oomscope.watch.armed_reports import armed_lines
from oomscope.watch.bookmarks import Bookmarks
from oomscope.watch.collector import Collector, Stretch
from oomscope.watch.followers.follower import FollowedLine, Follower, Position
from oomscope.watch.judging import Judging
from oomscope.watch.near_limit import EVERY_S, NearLimit
from oomscope.watch.outlets.outlet import Queued
from oomscope.watch.sampling import Sampling
from oomscope.watch.storms import Storms
from oomscope.watch.surroundings import of_cgroup, of_machine

_FILE_EVERY_S = 0.5  # a file that is followed is looked at that often
_LOST_EVERY_S = 10.0
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_END_S = 10.0
_LATE_S = 10.0  # what a log told longer ago is of the past: what the machine has now is not of it


class Watcher:
    """Follows logs until `stop` is called. `is_of_this_machine` tells that the logs are this machine's own.

    `whole` has all that `explain` prints in each notice.
    """

    def __init__(
        self,
        followers: Sequence[Follower],
        outlets: Sequence[Queued],
        state: Bookmarks,
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
        self._outlets, self._state, self._near, self._sampling = outlets, state, near, sampling
        self._is_local, self._root, self._clock = is_of_this_machine, root, clock
        self._judging, self._storms = Judging(whole=whole), Storms()
        self._kept: dict[str, Position] = {}
        self._lost: dict[str, tuple[int, str]] = {}  # what was lost so far, and told
        self._near_at = self._lost_at = clock()
        self._stop_read, self._stop_write = os.pipe()
        self._is_over = False

    def stop(self) -> None:
        """Have `run` end; may be called by a signal's handler."""
        os.write(self._stop_write, b"\0")

    def run(self, *, until_read: bool = False) -> None:
        """Until `stop`; with `until_read`, until what the logs hold now has been told."""
        try:
            while not self._is_over:
                self._turn()
                if until_read and not self._is_open:
                    break
        finally:
            self._end()

    @property
    def _is_open(self) -> bool:
        return self._judging.is_busy or any(each.opened is not None for each in self._collectors.values())

    def _turn(self) -> None:
        for follower in list(self._followers):
            if not self._judging.is_full:
                self._take_lines(follower)
        now = self._clock()
        for name, collector in self._collectors.items():
            if name not in self._reading and (stretch := collector.silent(now)) is not None:
                self._judging.give(stretch, now)
        self._take_answers()
        if not self._is_open:
            self._tell(self._storms.due(time.time()))
        self._look_after(self._clock())
        self._wait()

    def _take_answers(self) -> None:
        for stretch, answered in self._judging.take(self._clock()):
            if answered.failure:
                self._lose("a report that could not be read", 1, answered.failure)
            for notice in answered.notices:
                self._tell(self._storms.take(self._incident(notice, stretch)))

    def _take_lines(self, follower: Follower) -> None:
        collector = self._collectors[follower.name]
        try:
            lines = self._reading.pop(follower.name, None) or follower.lines()
            for line in lines:
                was_open = collector.opened
                for stretch in collector.take(line, self._clock()):
                    self._judging.give(stretch, self._clock())
                opened = collector.opened
                if opened is not None and self._is_local:
                    self._see_surroundings(opened, is_new=opened is not was_open)
                if self._judging.is_full:
                    self._reading[follower.name] = lines
                    return
        except OomscopeError as error:
            self._followers.remove(follower)
            self._lose("a log that can no more be followed", 1, str(error))
            self._is_over = not self._followers

    def _see_surroundings(self, stretch: Stretch, *, is_new: bool) -> None:
        if is_new:
            stretch.surroundings = of_machine(self._root, _PAGE_BYTES)
        beside = stretch.surroundings
        if stretch.groups is None or beside is None or beside.cgroup is not None:
            return
        # The limited group is whose limit it was; that of the task is the container, where the limit is the pod's.
        limited, task = stretch.groups
        path = task if limited == "/" or task.startswith(limited.rstrip("/") + "/") else limited
        place, stat, files = of_cgroup(path, self._root)
        stretch.surroundings = replace(beside, cgroup=place, cgroup_stat=stat, files={**beside.files, **files})

    def _incident(self, notice: OomNotice, stretch: Stretch) -> Incident:
        beside, now = stretch.surroundings, time.time()
        at, is_of_the_past = now, False
        if notice.at_ns is not None and self._is_local:
            ago_s = time.clock_gettime(time.CLOCK_MONOTONIC) - notice.at_ns / 1e9
            if ago_s > 0:
                at, is_of_the_past = now - ago_s, ago_s > _LATE_S
        if is_of_the_past:
            beside = None
        if beside is not None:
            beside = replace(beside, armed=armed_lines(self._root, notice.at_ns))
        return Incident(OOM, at, notice.short, stretch.source, notice, beside, log=stretch.text)

    def _tell(self, incidents: Iterable[Incident]) -> None:
        told = False
        for incident in incidents:
            told = True
            for outlet in self._outlets:
                outlet.put(incident)
        if told or not self._is_open:
            self._keep()

    def _keep(self) -> None:
        positions = {name: collector.position for name, collector in self._collectors.items()}
        if self._judging.is_busy or positions == self._kept:
            return
        self._kept = positions
        try:
            self._state.write(positions)
        except OomscopeError as error:
            self._lose("where the logs were read to", 1, str(error))

    def _look_after(self, now: float) -> None:
        if self._near is not None and now - self._near_at >= EVERY_S:
            self._near_at = now
            self._tell(self._near.due(now))
        if self._sampling is not None:
            self._tell(self._sampling.due(now))
        if now - self._lost_at >= _LOST_EVERY_S:
            self._lost_at = now
            self._tell_losses()

    def _tell_losses(self) -> None:
        found = {follower.name: (follower.lost_records, "its ring was overwritten") for follower in self._followers}
        found["reports"] = (self._judging.lost, self._judging.reason)
        found |= {queued.outlet.name: (queued.lost, queued.reason) for queued in self._outlets}
        for name, (count, reason) in found.items():
            before = self._lost.get(name, (0, ""))[0]
            if count > before:
                self._lost[name] = (count, reason)
                self._lose(name, count - before, reason)

    def _lose(self, what: str, count: int, reason: str) -> None:
        text = f"lost: {count:,} of {what}: {reason}"
        incident = Incident(LOST, time.time(), text, what, count=count, figures={"what": what, "reason": reason})
        for outlet in self._outlets:
            outlet.put(incident)

    def _wait(self) -> None:
        now = self._clock()
        waits = [each.wait_s(now) for name, each in self._collectors.items() if name not in self._reading]
        waits += [self._judging.wait_s(now), self._storms.wait_s(time.time())]
        if any(follower.fileno() is None for follower in self._followers):
            waits.append(_FILE_EVERY_S)
        if self._near is not None:
            waits.append(max(0.0, self._near_at + EVERY_S - now))
        if self._sampling is not None:
            waits.append(self._sampling.wait_s(now))
        readable, writable = self._judging.filenos()
        if not self._judging.is_full:
            readable += [fd for follower in self._followers if (fd := follower.fileno()) is not None]
            waits += [0.0] * len(self._reading)
        if self._sampling is not None:
            readable += self._sampling.filenos()
        if any(queued.lost > self._lost.get(queued.outlet.name, (0, ""))[0] for queued in self._outlets):
            waits.append(max(0.0, self._lost_at + _LOST_EVERY_S - now))
        until = min((wait for wait in waits if wait is not None), default=None)
        ready, _, _ = select.select([*readable, self._stop_read], writable, [], until)
        if self._stop_read in ready:
            self._is_over = True

    def _end(self) -> None:
        deadline = self._clock() + _END_S
        while self._judging.is_busy and self._clock() < deadline:
            readable, writable = self._judging.filenos()
            select.select(readable, writable, [], _FILE_EVERY_S)
            self._take_answers()
        self._tell(self._storms.all())
        self._tell_losses()
        self._keep()
        for follower in self._followers:
            follower.close()
        self._judging.close()
        if self._sampling is not None:
            self._sampling.close()
        for queued in self._outlets:
            queued.close()
        with suppress(OSError):
            os.close(self._stop_read)
            os.close(self._stop_write)
