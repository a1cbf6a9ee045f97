"""What was done to a whole log on its way: mail encoding, lone carriage returns, parts of pstore in the wrong order."""

from __future__ import annotations

import itertools
import quopri
import re
from collections.abc import Iterable, Iterator

from oomscope import bounds

_PART = re.compile(rb"(?m)^\w{1,20}#\d{1,9} Part(?P<part>\d{1,5})\r?\n")
_QUOTED_PRINTABLE = re.compile(
    rb"gfp_mask=3D0x|order=3D\d|hugepages_total=3D\d|mode:0x[0-9a-f]{1,16}\([^)\n]{0,200}=\n"
)


def in_order(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The log from its oldest line on; its lines are counted in that order.

    pstore writes its newest part first, as Part1 (fs/pstore/platform.c pstore_dump()): such a file begins with it.
    Old terminals end lines with CR alone.
    """
    rest = iter(chunks)
    first = next(rest, b"")
    if first and b"\n" not in first and b"\r" in first:
        for chunk in itertools.chain([first], rest):
            yield chunk.replace(b"\r", b"\n")
        return
    head = _PART.match(first)
    if head is None or int(head["part"]) != 1:
        yield first
        yield from rest
        return
    held = [first]
    size = len(first)
    for chunk in rest:
        held.append(chunk)
        size += len(chunk)
        if size > bounds.REORDERED_LOG_BYTES:
            yield from held
            yield from rest
            return
    yield _oldest_part_first(b"".join(held))


def _oldest_part_first(text: bytes) -> bytes:
    marks = list(_PART.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    parts = [(int(mark["part"]), text[mark.start() : end]) for mark, end in zip(marks, ends, strict=True)]
    numbers = [number for number, _ in parts]
    if len(parts) < 2 or numbers != sorted(set(numbers)):
        return text  # one part, several dumps, or some order of its own
    return b"".join(part if part.endswith(b"\n") else part + b"\n" for _, part in reversed(parts))


def mended_lines(stretch: bytes, first_number: int) -> Iterator[tuple[int, bytes]]:
    """Numbered lines; those of a quoted-printable mail decoded, with their soft breaks undone."""
    lines = enumerate(stretch.split(b"\n"), first_number)
    if b"=3D" not in stretch or _QUOTED_PRINTABLE.search(stretch) is None:
        yield from lines
        return
    held, held_number = b"", 0
    for number, line in lines:
        held_number = held_number if held else number
        held += line.rstrip(b"\r")
        if held.endswith(b"=") and len(held) <= bounds.LOG_LINE_BYTES:
            held = held[:-1]
            continue
        yield held_number, quopri.decodestring(held)
        held = b""
    if held:
        yield held_number, quopri.decodestring(held)
