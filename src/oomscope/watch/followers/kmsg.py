"""The kernel's own ring, /dev/kmsg: from its oldest record on (Documentation/ABI/testing/dev-kmsg)."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

from oomscope.errors import NoAccess, cause_of
from oomscope.watch.followers.follower import FollowedLine, Position

PATH = "/dev/kmsg"
_RECORD_BYTES = 8192  # CONSOLE_EXT_LOG_MAX: a shorter read is refused
_HEAD = re.compile(rb"\d{1,9},(?P<number>\d{1,19}),(?P<usec>\d{1,19}),(?P<rest>[^;]*+);")
_CALLER = re.compile(rb",caller=(?P<caller>[TC]\d{1,9})")
_ESCAPED = re.compile(rb"\\x([0-9a-f]{2})")


class Kmsg:
    """The ring; records that were overwritten before they were read are counted. See Follower."""

    name = PATH

    def __init__(self, position: Position = (), path: str | Path = PATH) -> None:
        """Go on behind a record of this boot, by its number. Raises NoAccess where it may not be read."""
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise NoAccess(
                f"{PATH}: {cause_of(error)}", advice="run it as root, or follow a log: --file LOG"
            ) from error
        self.lost_records = 0
        self._next: int | None = None
        self._first = int(position[0]) + 1 if position else 0

    def fileno(self) -> int:
        """See Follower."""
        return self._fd

    def lines(self) -> Iterator[FollowedLine]:
        """Each as `dmesg` prints it: `[seconds] text`, with the caller where the kernel tells it."""
        while True:
            try:
                record = os.read(self._fd, _RECORD_BYTES)
            except OSError as error:
                if error.errno == errno.EPIPE:  # overwritten: the next read goes on with the oldest there is
                    continue
                if error.errno in (errno.EAGAIN, errno.EINTR):
                    return
                raise NoAccess(f"{PATH}: {cause_of(error)}", advice="") from error
            if not record:
                return
            yield from self._of_record(record)

    def close(self) -> None:
        """See Follower."""
        os.close(self._fd)

    def _of_record(self, record: bytes) -> Iterator[FollowedLine]:
        head = _HEAD.match(record)
        if head is None:
            return
        number, usec = int(head["number"]), int(head["usec"])
        expected = max(self._first, 0) if self._next is None and self._first else self._next
        if expected is not None and number > expected:
            self.lost_records += number - expected
        self._next = number + 1
        if number < self._first:
            return
        told = _CALLER.search(head["rest"])
        caller = None if told is None else told["caller"]
        shown = b"" if caller is None else b"[%6s]" % caller
        stamp = b"[%5d.%06d]%s " % (usec // 10**6, usec % 10**6, shown)
        text = record[head.end() :].partition(b"\n")[0]
        text = _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), text)
        for line in text.split(b"\n"):
            yield FollowedLine(stamp + line, caller, [number])
