"""Text of foreign origin: lines of bytes, and what of them is safe to show."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from oomscope import bounds

# Where a kernel puts text of foreign origin (comm, cgroup and module names), anything can stand: what a terminal
# would obey, and what nobody can see, is shown as text instead.
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


_TOO_LONG = bytes(bounds.LINE_BYTES + 1)


def printable(raw: bytes) -> str:
    r"""Text that is safe to show: invalid UTF-8 and control characters appear as `\\xNN`."""
    text = raw.decode("utf-8", errors="backslashreplace")
    if text.isascii() and text.isprintable():
        return text
    return _CONTROL.sub(_escape, text)


def is_printable(text: str) -> bool:
    """Whether text is what `printable` gives: nothing in it that a terminal would obey or nobody can see."""
    return _CONTROL.search(text) is None


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def first_line(head: bytes) -> bytes:
    """The first line of an input's beginning, without its end; empty where that is longer than any line."""
    line = head[: bounds.LINE_BYTES + 1].partition(b"\n")[0].rstrip(b"\r")
    return line if len(line) <= bounds.LINE_BYTES else b""


def either(*patterns: bytes) -> re.Pattern[bytes]:
    """One pattern of several, each of which begins with a byte that stands for itself.

    Those that begin alike are one branch, so that `re` steps over bytes that none begins with: three times faster.
    """
    rests: dict[bytes, list[bytes]] = {}
    for pattern in patterns:
        first = pattern[:2] if pattern.startswith(b"\\") else pattern[:1]
        rests.setdefault(first, []).append(pattern[len(first) :])
    return re.compile(b"|".join(first + b"(?:" + b"|".join(rest) + b")" for first, rest in rests.items()))


def stretches(chunks: Iterable[bytes], beyond: bytes | None = b"") -> Iterator[bytes]:
    """The input in stretches of whole lines, the last one without its end where it has none.

    Of a line beyond 64 KiB, which no kernel prints, `beyond` stands for what was read of it so far; with None it goes
    on as it comes, in pieces.
    """
    rest = b""
    for chunk in chunks:
        text = rest + chunk
        cut = text.rfind(b"\n") + 1
        if cut:
            yield text[:cut]
        rest = text[cut:]
        if len(rest) > bounds.LINE_BYTES:
            if beyond is None:
                yield rest
            rest = beyond or b""
    if rest:
        yield rest


def lines(chunks: Iterable[bytes]) -> Iterator[bytes | None]:
    """The lines of an input without their ends (LF or CRLF); a line beyond 64 KiB is None: read past, never held."""
    for stretch in stretches(chunks, _TOO_LONG):
        *whole, last = stretch.split(b"\n")
        for line in (*whole, last) if last else whole:
            yield line.rstrip(b"\r") if len(line) <= bounds.LINE_BYTES else None


Lines = Iterable[bytes | None]
