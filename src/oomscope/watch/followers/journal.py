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
_FIELDS = "MESSAGE,SYSLOG_IDENTIFIER,_PID,_UID,_SYSTEMD_UNIT,_TRANSPORT,_SOURCE_MONOTONIC_TIMESTAMP"


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
        self._process = subprocess.Popen(
            [*command, *asked[:-1]], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
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
    """As journalctl shows it: the kernel's with seconds since boot, others with who wrote them.

    Anybody may call himself earlyoom; the unit and the user are journald's own word (systemd.journal-fields(7)).
    """
    try:
        told = json.loads(record)
        fields = {name: _text(value) for name, value in told.items()}
        cursor = fields["__CURSOR"]
        is_kernel = fields.get("_TRANSPORT") == "kernel"
        usec = int(
            (is_kernel and fields.get("_SOURCE_MONOTONIC_TIMESTAMP")) or fields.get("__MONOTONIC_TIMESTAMP") or 0
        )
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return
    who = fields.get("SYSLOG_IDENTIFIER", "")
    unit = fields.get("_SYSTEMD_UNIT", "")
    if not is_kernel and fields.get("_UID") != "0" and not unit.startswith(tuple(f"{each}." for each in _KILLERS)):
        return
    prefix = f"[{usec // 10**6:5d}.{usec % 10**6:06d}] " + ("" if is_kernel else f"{who}[{fields.get('_PID', '')}]: ")
    lines = fields.get("MESSAGE", "").split("\n")
    for line in lines if is_kernel else lines[:1]:
        yield FollowedLine((prefix + line).encode("utf-8", "replace"), None, [cursor])


def _text(value: object) -> str:
    """A field: text, bytes that are none, or one that stands there several times, of which the first counts."""
    if isinstance(value, list) and value and isinstance(value[0], int):
        return bytes(each & 255 for each in value if isinstance(each, int)).decode(errors="replace")
    if isinstance(value, list):
        return _text(value[0]) if value else ""
    return "" if value is None else str(value)
