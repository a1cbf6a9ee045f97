"""What mails, trackers and terminals put around a line: quotes, fences, markdown, HTML, numbers of `grep -n`."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

_QUOTE = re.compile(rb"\s{0,4}(?:[>|] ?){1,20}")
_COLOUR = re.compile(rb"\x1b\[[0-9;?]{0,20}[A-Za-z]")
_TAG = re.compile(rb"</?(?:br|p|div|pre|code|span|td|tr|b|i|em|strong)\b[^>]{0,200}>", re.IGNORECASE)
_ENTITY = re.compile(rb"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,12});")
_GREP = re.compile(rb"(?:[\w./+@-]{1,200}[:-])?\d{1,7}[:-](?=\s*[A-Za-z0-9])")
_PATH = re.compile(rb"/(?:proc|sys)/[\w./-]{1,120}[:-] ?")
_ITEM = re.compile(rb"\s{0,8}(?:[*+-] )(?=\S)")
_PRINTK = re.compile(
    rb"(?:<\d{1,3}>|.{0,60}?kernel: ?)?\[ *\d{1,7}\.\d{6}\](?:\[ *[TC]\d{1,7}\])? (?:kmemleak: "
    rb"(?=unreferenced object))?"
)
# `date` before each line, as scripts write it; what follows is a name.
_DATE = re.compile(
    rb"\[?(?:[A-Z][a-z]{2},? {1,2}){0,2}(?:\d{1,2} )?(?:\d{4}[-/]\d\d[-/]\d\d[T ])?\d\d:\d\d(?::\d\d)?(?:[.,]\d{1,9})?"
    rb"(?: [A-Z]{3,4}| \d{4}|Z|[+-]\d\d:?\d\d)*\]?[ \t:|,-]{1,4}(?=[A-Za-z])"
)
_NO_BREAK = "\u00a0".encode()


def unwrapped(line: bytes) -> bytes:
    """A line without what never belongs to it: colours, tags, entities, quoting, markdown's marks; blanks stay."""
    if b"\x1b" in line:
        line = _COLOUR.sub(b"", line)
    if b"<" in line or b"&" in line:
        line = _ENTITY.sub(_unescaped, _TAG.sub(b"", line))
    line = line.replace(_NO_BREAK, b" ").rstrip(b" \r\n")
    if (quote := _QUOTE.match(line)) is not None:
        line = line[quote.end() :]
    if b"**" in line or b"`" in line or b"\\_" in line:
        line = line.replace(b"**", b"").replace(b"`", b"").replace(b"\\_", b"_").replace(b"\\*", b"*")
    return line


def _unescaped(entity: re.Match[bytes]) -> bytes:
    return html.unescape(entity[0].decode("ascii")).encode("utf-8", "surrogateescape")


def forms(line: bytes) -> Iterator[bytes]:
    """The line as it may have been printed: without a date, as it stands, then without what may be a prefix."""
    if (dated := _DATE.match(line)) is not None:
        yield line[dated.end() :]
    yield line
    for prefix in (_GREP, _PATH, _ITEM, _PRINTK):
        if (match := prefix.match(line)) is not None:
            yield line[match.end() :]
    if (stripped := line.lstrip()) is not line and len(stripped) < len(line):
        yield stripped
