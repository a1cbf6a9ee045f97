"""The journal, followed by journalctl: the killers of user space stand nowhere else; the kernel's lines on request."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator

from oomscope.errors import NotOffered
from oomscope.watch.followers.follower import FollowedLine, Position

NAME = "the journal"
_KILLERS = ("earlyoom", "nohang", "nohang-desktop", "systemd-oomd")
_CHUNK_BYTES = 1 << 18
_FIELDS = "MESSAGE,SYSLOG_IDENTIFIER,_PID,_TRANSPORT,_SOURCE_MONOTONIC_TIMESTAMP"


class Journal:
    """This boot's journal from its beginning, or from a cursor on, then as it grows. See Follower."""

    name = NAME

    def __init__(self, position: Position = (), *, kernel: bool = False) -> None:
        """With `kernel`, the kernel's lines, too. Raises NotOffered where there is no journalctl."""
        program = shutil.which("journalctl")
        if program is None:
            raise NotOffered("there is no journalctl", advice="follow the kernel's ring alone, or a log: --file LOG")
        asked = ["_TRANSPORT=kernel", "+"] if kernel else []
        for killer in _KILLERS:
            asked += [f"SYSLOG_IDENTIFIER={killer}", "+"]
        begin = [f"--after-cursor={position[0]}"] if position else ["--boot", "--lines=all"]
        command = [program, "--follow", "--all", "--quiet", "--output=json", f"--output-fields={_FIELDS}", *begin]
        self._process = subprocess.Popen([*command, *asked[:-1]], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self._process.stdout is not None
        self._fd = self._process.stdout.fileno()
        os.set_blocking(self._fd, False)
        self.lost_records = 0
        self._rest = b""

    def fileno(self) -> int:
        """See Follower."""
        return self._fd

    def lines(self) -> Iterator[FollowedLine]:
        """See Follower. Raises NotOffered where journalctl has ended."""
        while True:
            try:
                chunk = os.read(self._fd, _CHUNK_BYTES)
            except BlockingIOError:
                return
            if not chunk:
                raise NotOffered("journalctl has ended", advice="see `journalctl -k`")
            *whole, self._rest = (self._rest + chunk).split(b"\n")
            for record in whole:
                yield from _lines_of(record)

    def close(self) -> None:
        """See Follower."""
        self._process.terminate()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def _lines_of(record: bytes) -> Iterator[FollowedLine]:
    """As journalctl shows it: the kernel's with seconds since boot, others with who wrote them."""
    try:
        told = json.loads(record)
        message, cursor = told.get("MESSAGE") or "", str(told["__CURSOR"])
    except (ValueError, KeyError, AttributeError):
        return
    if isinstance(message, list):  # bytes that are no text
        message = bytes(message).decode(errors="replace")
    if told.get("_TRANSPORT") == "kernel":
        usec = int(told.get("_SOURCE_MONOTONIC_TIMESTAMP") or told.get("__MONOTONIC_TIMESTAMP") or 0)
        prefix = f"[{usec // 10**6:5d}.{usec % 10**6:06d}] "
    else:
        usec = int(told.get("__MONOTONIC_TIMESTAMP") or 0)
        who = f"{told.get('SYSLOG_IDENTIFIER', '')}[{told.get('_PID', '')}]"
        prefix = f"[{usec // 10**6:5d}.{usec % 10**6:06d}] {who}: "
    for line in str(message).split("\n"):
        yield FollowedLine((prefix + line).encode("utf-8", "replace"), None, [cursor])
