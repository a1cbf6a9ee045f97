"""What was done to a whole log on its way: mail encoding, lone carriage returns, parts of pstore in the wrong order."""

from __future__ import annotations

import itertools
import json
import quopri
import re
from collections.abc import Iterable, Iterator

from oomscope import bounds

_PART = re.compile(rb"(?m)^\w{1,20}#\d{1,9} Part(?P<part>\d{1,5})\r?\n")
_QUOTED_PRINTABLE = re.compile(
    rb"gfp_mask=3D0x|order=3D\d|hugepages_total=3D\d|mode:0x[0-9a-f]{1,16}\([^)\n]{0,200}=\n"
)
# A line that quoted-printable broke: 76 columns at most, and the quoting of who answered.
_SOFT_BREAK = re.compile(rb"(?m)^.{66,90}[^=\s]=\r?$")
_SOFT_BREAKS_LEAST = 2


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


# journalctl -o export, -o verbose; -o json-pretty and dmesg --json, and what clouds export: a field a line.
_JOURNAL_FIELDS = re.compile(rb"(?m)^(?:(?P<export>__CURSOR=)| {4}MESSAGE=)")
_PRETTY = re.compile(rb'(?m)^\s{2,12}"(?:MESSAGE|msg|textPayload|message|@message)" ?: +"')
_FIELD = re.compile(
    rb' {4}MESSAGE=(?P<verbose>.*)|\s{2,12}"(?:MESSAGE|msg|textPayload|message|@message)" ?: +(?P<pretty>".*"),?\s*$'
)
_CONTINUES = re.compile(rb" {12}")
_STAMPED = b"<6>"  # so that what follows is a line by itself, and no rest of the one before


def _of_fields(stretch: bytes, first_number: int) -> Iterator[tuple[int, bytes]]:
    """The messages of records whose fields stand on lines of their own; one of several lines goes on, set in."""
    is_message = False
    for number, line in enumerate(stretch.split(b"\n"), first_number):
        match = _FIELD.match(line)
        if match is None:
            is_message = is_message and _CONTINUES.match(line) is not None
            if is_message:
                yield number, _STAMPED + line[12:]
            continue
        is_message = match["verbose"] is not None
        if is_message:
            yield number, _STAMPED + match["verbose"]
            continue
        try:
            text = str(json.loads(match["pretty"]))
        except ValueError:
            continue
        for each in text.rstrip("\n").split("\n"):
            yield number, _STAMPED + each.encode()


def _of_export(stretch: bytes, first_number: int) -> Iterator[tuple[int, bytes]]:
    """The messages of the journal's export format; one of several lines stands behind its length, in 8 bytes."""
    at, number = 0, first_number
    while at < len(stretch):
        end = stretch.find(b"\n", at)
        end = len(stretch) if end < 0 else end
        line = stretch[at:end]
        if line == b"MESSAGE" and end + 9 <= len(stretch):
            size = int.from_bytes(stretch[end + 1 : end + 9], "little")
            text = stretch[end + 9 : end + 9 + min(size, bounds.LOG_LINE_BYTES)]
            for each in text.split(b"\n"):
                yield number, _STAMPED + each
            end = min(end + 9 + size, len(stretch))
            number += text.count(b"\n")
        elif line.startswith(b"MESSAGE="):
            yield number, _STAMPED + line[8:]
        at, number = end + 1, number + 1


def mended_lines(stretch: bytes, first_number: int) -> Iterator[tuple[int, bytes]] | None:
    """Numbered lines of a stretch whose own lines are no lines of the log; None for all others.

    Of a quoted-printable mail they are decoded, with their soft breaks undone; of records each message is one.
    """
    if b"MESSAGE" in stretch and (forms := _JOURNAL_FIELDS.search(stretch)) is not None:
        return _of_export(stretch, first_number) if forms["export"] else _of_fields(stretch, first_number)
    if (b'" : ' in stretch or b'": ' in stretch) and _PRETTY.search(stretch) is not None:
        return _of_fields(stretch, first_number)
    is_encoded = b"=3D" in stretch and _QUOTED_PRINTABLE.search(stretch) is not None
    if is_encoded or (
        (b"=\n" in stretch or (b"\r" in stretch and b"=\r\n" in stretch))
        and len(_SOFT_BREAK.findall(stretch)) >= _SOFT_BREAKS_LEAST
    ):
        return _of_quoted_printable(stretch, first_number)
    return None


def _of_quoted_printable(stretch: bytes, first_number: int) -> Iterator[tuple[int, bytes]]:
    held, held_number = b"", 0
    for number, line in enumerate(stretch.split(b"\n"), first_number):
        held_number = held_number if held else number
        held += line.rstrip(b"\r")
        if held.endswith(b"=") and len(held) <= bounds.LOG_LINE_BYTES:
            held = held[:-1]
            continue
        yield held_number, quopri.decodestring(held)
        held = b""
    if held:
        yield held_number, quopri.decodestring(held)
