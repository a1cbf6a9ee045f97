"""A text that is no account by its beginning: a kernel log, accounts in between, and whatever people write around."""

from __future__ import annotations

import io
import quopri
import re
from dataclasses import replace

from oomscope import bounds
from oomscope.errors import NothingToExplain, OomscopeError, UnknownContent
from oomscope.io.input import Stream
from oomscope.model.reading import Reading, Role
from oomscope.model.unknown import Unknown
from oomscope.sources.base import Options
from oomscope.sources.kernel_log.source import KernelLog
from oomscope.sources.kernel_log.told_by_others import WHERE, told_by_others
from oomscope.sources.pasted.blocks import Block, blocks
from oomscope.text import printable
from oomscope.units import counted

_UNAME = re.compile(
    rb"\n[ >]{0,9}Linux \S{1,64} (?P<release>\d\.\d{1,3}\S{1,80}) #\d{1,9}[ ~].{0,120}?"
    rb"(?:x86_64|aarch64|armv\w{1,4}|i[3-6]86|ppc64(?:le)?|s390x|riscv64|mips\w{0,4}) "
)
_BREAK = re.compile(rb"<br ?/?>\n?")
_SOFT_BREAK = re.compile(rb"=\r?\n")
_FEW = 5
_BYTE_ORDER = b"\xef\xbb\xbf"  # of UTF-8, which some editors write
_NO_BREAK = "\u00a0".encode()
_LOG = KernelLog()


class PastedText:
    """The format: any text. One beyond 1 MiB is read as a log alone; of others each block is a reading of its own."""

    format = "text"
    role = Role.LOG

    def recognises(self, head: bytes) -> bool:
        """Never by itself: it reads what no other source knows by its beginning."""
        del head
        return False

    def read(self, stream: Stream, options: Options) -> list[Reading]:
        """See Source. Raises UnknownContent where there is neither a log nor an account."""
        if len(stream.head) >= bounds.HEAD_BYTES:
            return _of_a_long_text(stream, options)
        text = _plain(stream.head)
        found, alike = blocks(text)
        readings = [reading for block in _of_one_moment(found) for reading in _read(block, stream.origin, options)]
        try:
            (log,) = _LOG.read(stream, options)
        except UnknownContent as unknown:
            if not readings:
                raise _refusal(stream.origin, text, alike) from unknown
            return _of_one_machine(readings, text)
        tells = log.notes.log.events or log.notes.log.reports or log.notes.log.panicked
        return _of_one_machine([log, *readings] if tells or not readings else readings, text)


def _plain(head: bytes) -> bytes:
    """The text of a page or a mail: line breaks of HTML are line ends, quoted-printable is decoded."""
    if len(_BREAK.findall(head)) >= _FEW:
        head = _BREAK.sub(b"\n", head).replace(b"&nbsp;", b" ")
    head = head.removeprefix(_BYTE_ORDER).replace(_NO_BREAK, b" ")
    if _SOFT_BREAK.search(head) is not None and b"=3D" in head:
        head = quopri.decodestring(head)
    return head


def _read(block: Block, origin: str, options: Options) -> list[Reading]:
    name = f": {block.name}" if block.name else ""
    stream = Stream(f"{origin}{name} (line {block.line})", io.BytesIO(block.text), size_bytes=None)
    try:
        readings = block.kind.source.read(stream, options)
    except UnknownContent:
        return []
    if block.earlier:
        what = f"{counted(block.earlier, 'other reading')} of {block.kind.source.format} in this text"
        other = f" or of another machine ({printable(block.other_host)})" if block.other_host else ""
        readings[0].notes.absent += (Unknown(what, f"they are of other moments{other}: the last is used"),)
    if block.first is not None and len(readings) == 1 and len(before := _read(block.first, origin, options)) == 1:
        return [replace(readings[0], earlier=before[0])]
    return readings


def _of_a_long_text(stream: Stream, options: Options) -> list[Reading]:
    try:
        return _LOG.read(stream, options)
    except UnknownContent as unknown:
        raise UnknownContent(f"{unknown}; accounts are looked for in texts up to 1 MiB") from unknown


def _of_one_moment(found: list[Block]) -> list[Block]:
    """Of several blocks of one account the last: they are several moments, and none of them has its time.

    Where each block is of something else (a process, an object that leaked), they are read as one.
    """
    latest: dict[tuple[str, str], Block] = {}
    for block in found:
        key = (block.kind.source.format, block.name)
        other = latest.get(key)
        if other is None:
            latest[key] = block
        elif block.kind.is_a_part:
            other.lines += block.lines
        elif block.rows * 2 >= other.rows:
            block.earlier, block.first = other.earlier + 1, other.first or other
            if (host := block.first.host) != block.host:
                block.first, block.other_host = None, host  # what another machine had is nothing that grew
            latest[key] = block
        else:
            other.earlier += 1
    return [block for block in found if latest[block.kind.source.format, block.name] is block]


def _of_one_machine(readings: list[Reading], text: bytes) -> list[Reading]:
    """With the release that `uname -a` tells, where no reading has one of its own."""
    if any(reading.notes.release for reading in readings) or (uname := _UNAME.search(b"\n" + text)) is None:
        return readings
    readings[0].notes.release = printable(uname["release"])
    return readings


def _refusal(origin: str, text: bytes, alike: list[Block]) -> OomscopeError:
    if (told := told_by_others(text)) is not None:
        return NothingToExplain(f"{origin}: {told}", advice=WHERE)
    if not alike:
        return UnknownContent(f"{origin}: text, but of no kind that is known here")
    most = max(alike, key=lambda block: block.rows)
    rows = "1 line" if most.rows == 1 else f"{most.rows:,} lines"
    looks = f"line {most.line} looks like {most.kind.source.format}, cut after {rows}"
    return UnknownContent(f"{origin}: text, but of no kind that is known here; {looks}")
