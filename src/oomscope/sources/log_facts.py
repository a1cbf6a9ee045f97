"""What the text of a kernel log tells of the machine that printed it: its panic, its last moment."""

from __future__ import annotations

import re

from oomscope.text import printable

_PANIC = re.compile(rb"Kernel panic - not syncing: (?P<message>[^\n]{1,500})")
_STAMP = re.compile(rb"^\[ *(?P<seconds>\d{1,9})\.(?P<micros>\d{6})\]", re.MULTILINE)


def panic_message(log: bytes) -> str | None:
    """The first panic's message, None where there is none."""
    found = _PANIC.search(log)
    return None if found is None else printable(found["message"].strip())


def last_stamp_ns(log: bytes) -> int | None:
    """The time of the log's last line."""
    stamps = _STAMP.findall(log[-(1 << 14) :])
    return int(stamps[-1][0]) * 10**9 + int(stamps[-1][1]) * 1000 if stamps else None
