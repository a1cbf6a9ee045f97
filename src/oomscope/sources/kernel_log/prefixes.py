r"""A line of a kernel log, freed of what collectors, mails and terminals put before it.

Every collector has its own prefix: printk's level and stamp, its caller (CONFIG_PRINTK_CALLER), dmesg -T and -x, syslog
and journal with host and tag, /dev/kmsg and netconsole records, Android's logcat, journalctl -o json; mails add
quoting. One message may be several lines (Mem-Info's counters are one printk): collectors repeat the prefix, leave it
out, or write the line ends as `#012` or `\x0a`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

_ODD = re.compile(rb"^\{|#012|\\x0a|\\n |\xc2\xa0|\x1b")
_ESCAPED_LINE_END = re.compile(rb"#012|\\x0a|\\n(?= )")
_COLOUR = re.compile(rb"\x1b\[[0-9;?]{0,20}[A-Za-z]")
# Two messages on one line: a console that lost a line end, or a second CPU.
_STAMP_WITHIN = re.compile(rb"(?<=\S)[ \t]*+(?=\[ *+\d{1,9}\.\d{6}\](?:\[ *[TC]\d{1,9}\])? )")
_NEXT_STAMP = re.compile(rb"\[ *\d{1,9}\.\d{6}\]")
# The same of syslog, whose lines a mailer has run together.
_SYSLOG_WITHIN = re.compile(rb"(?<=\S)[ \t]++(?=[A-Z][a-z]{2} {1,2}\d{1,2} \d\d:\d\d:\d\d \S{1,120} kernel: )")
_QUOTE = re.compile(rb"[ \t]*(?:[>|][ \t]?)+")
_PRINTK = rb"\[ *(?P<seconds>\d{1,9})\.(?P<micros>\d{6})s?\]"
_SYSLOG_PRIORITY = rb"(?:<\d{1,3}>(?:\d )?)?"
_ISO_TIME = rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?"
_HOST_AND_TAG = rb"(?:(?P<host>\S{1,255}) (?:\S{1,255} )??)??(?:k?ern(?:el)?(?:\[\d{0,9}\])?: ?|kernel - - - )"
_KMSG = rb"(?:\d{1,3}\.\d{1,4}\.\d{1,9}[^\s,;]{0,80},)?\d{1,4},\d{1,18},(?P<kmsg_micros>\d{1,15}),[-c+]"
# Each with the bytes that it can begin with: most lines are asked of a few forms only.
_PREFIXES: tuple[tuple[re.Pattern[bytes], re.Pattern[bytes]], ...] = tuple(
    (re.compile(first), re.compile(pattern))
    for first, pattern in (
        # journald and syslog: Nov 16 18:04:31 host kernel: ; 2024-05-30T21:05:00.1+00:00 host kernel:
        (
            rb"[<A-Z]",
            _SYSLOG_PRIORITY
            + rb"(?P<stamp>[A-Z][a-z]{2} {1,2}\d{1,2}(?: \d{4})? \d\d:\d\d:\d\d(?:\.\d{1,9})?) "
            + _HOST_AND_TAG,
        ),
        # `date` before a line, as scripts write it: Jun 12 06:39:16: ...
        (rb"[A-Z]", rb"(?P<stamp>[A-Z][a-z]{2} {1,2}\d{1,2} \d\d:\d\d:\d\d): "),
        # a month in another language: апр 28 01:23:30 ; avril 16 21:08:50
        (
            rb"[a-z\x80-\xff]",
            rb"(?P<stamp>[a-z\x80-\xff][^\s:\[\]<>=(){}\d]{1,23} {1,2}\d{1,2} \d\d:\d\d:\d\d(?:\.\d{1,9})?) "
            + _HOST_AND_TAG,
        ),
        (rb"[<\d]", _SYSLOG_PRIORITY + rb"(?P<stamp>" + _ISO_TIME + rb") " + _HOST_AND_TAG),
        # journalctl -o short-full, with-unit; short-unix; containers' logs (CRI), Talos, CloudWatch's CSV
        (
            rb"[A-Z]",
            rb"(?P<stamp>[A-Z][a-z]{2} \d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,9})? [A-Z+-][\w+-]{1,6}) "
            + _HOST_AND_TAG,
        ),
        (rb"\d", rb"\d{9,11}\.\d{6} " + _HOST_AND_TAG),
        (rb"\d", rb"(?P<stamp>" + _ISO_TIME + rb") std(?:out|err) [FP] "),
        (rb"[a-z]", rb"(?:kern|user|daemon|syslog): +[a-z]{3,9}: \[(?P<stamp>" + _ISO_TIME + rb")\]: ?"),
        (rb"[\d\"]", rb"\"?\d{13}\"?,(?:[\w./-]{0,120},)?(?P<quote>\")?"),
        # Android: 07-13 08:41:51.341 <4>[309805.658142s][pid:1361,cpu5,name] ; logcat -v threadtime
        (
            rb"\d",
            (
                rb"(?P<stamp>\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}) +(?:root +)?"
                rb"(?:\d{1,9} ++\d{1,9} ++[VDIWEF] ++(?:[^\s:]{1,80} {0,80})?: )?"
            ),
        ),
        (rb"\[", rb"\[pid:\d{1,9},cpu\d{1,5},[^\]\n]{0,40}\] ?"),
        (rb"[<.(]", rb"(?:<\d>)?\.?\(\d{1,2}\)\[\d{1,9}:[^\]\n]{1,40}\] ?"),
        (rb"[\[A-Z]", rb"[A-Z]?\[ *\d{1,3}: *[^\]\n]{1,16}: *\d{1,9}\] ?"),
        (rb"c", rb"c\d{1,3} +\d{1,7} +(?=\S)"),
        # dmesg --time-format=iso, reltime and delta
        (rb"\d", rb"(?P<stamp>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.,]\d{6}[+-]\d\d:\d\d) "),
        (rb"\[", rb"\[ *\+\d{1,9}\.\d{6}\] ?"),
        (rb"\[", rb"\[(?P<told>[A-Z][a-z]{2} +\d{1,2} \d\d:\d\d)\] ?"),
        (rb"\[", rb"\[ *(?P<seconds>\d{1,9})\.(?P<micros>\d{6}) <[ +]*+\d{0,9}\.?\d{0,6} *>\] ?"),
        # /dev/kmsg and netconsole: level,sequence,microseconds,flags,caller=T1;
        (rb"\d", _KMSG + rb"(?:,ncfrag=[^;,]{0,40})?(?:,caller=(?P<kmsg_caller>[TC]\d{1,9}))?;"),
        # dmesg -x
        (
            rb"[a-z]",
            rb"(?:kern|user|mail|daemon|auth|syslog|lpr|news) *:(?:emerg|alert|crit|err|warn|notice|info|debug) *: ?",
        ),
        (rb"<", rb"<\d{1,3}>"),
        (rb"\[", _PRINTK + rb" ?"),
        (rb"\[", rb"\[ *(?P<caller>[TC]\d{1,7})\] ?"),
        # dmesg -T, in any language
        (rb"\[", rb"\[(?P<told>[^\]\[\n]{0,30}\d\d:\d\d:\d\d[^\]\[\n]{0,20})\] ?"),
        # a guest's console in its hypervisor's log: 2023-12-04T10:49:30.127Z In(05) vcpu-5 - Guest: <6>[...
        (rb"\d", _ISO_TIME + rb"\|? (?:In\(\d{1,3}\) |I\d{3}\| )?vcpu-\d{1,4}\|? ?(?:- )?Guest: "),
        (rb"[\w.-]", rb"(?:[\w.-]{1,80} )?kernel: ?"),
    )
)
# By the first byte of a line: the forms that may stand there, in their order.
_MAY_STAND: tuple[tuple[re.Pattern[bytes], ...], ...] = tuple(
    tuple(form for first, form in _PREFIXES if first.match(bytes((byte,)))) for byte in range(256)
)
_MOST_PREFIXES = 8
# Behind printk's own stamp stands its caller, the CPU, or what another has stamped once more.
_OF_PRINTK = next(form for _, form in _PREFIXES if form.pattern == _PRINTK + rb" ?")
_BEHIND_PRINTK = re.compile(rb"[\[<(.c]|[A-Z]\[|(?:[\w.-]{1,80} )?kernel:")
# What most lines of most logs are: printk's stamp, perhaps its caller or syslog's words before it, and a text that
# begins as no prefix does and has nothing within that is looked for below.
_WITHIN = rb"[^#\\\x1b\xc2]*+(?:#(?!012)[^#\\\x1b\xc2]*+)*+"
_USUAL = re.compile(
    rb"(?:<\d{1,3}>)?(?:(?P<stamp>[A-Z][a-z]{2} {1,2}\d{1,2} \d\d:\d\d:\d\d) (?P<host>\S{1,255}) kernel: )?"
    rb"\[ *(?P<seconds>\d{1,9})\.(?P<micros>\d{6})\](?:\[ *(?P<caller>[TC]\d{1,7})\])?\s*+"
    rb"(?P<text>(?:[A-Z](?!\[)|[abd-z_/*?\]=-]|c(?!\d)|<(?!\d)|\d(?!\d*[,.-])|\[<[0-9a-f]|\[ *\d{1,8}\] )"
    + _WITHIN
    + rb")$"
)
# The same without printk's stamp.
_BARE = re.compile(
    rb"(?:(?P<stamp>[A-Z][a-z]{2} {1,2}\d{1,2} \d\d:\d\d:\d\d) (?P<host>\S{1,255}) kernel: ?\s*+)?"
    rb"(?P<text>(?!\S{1,24} {1,2}\d{1,4}[ -]\d\d[:-]|kern|user|mail|daemon|auth|syslog|lpr|news|c\d|[A-Z]\[)"
    rb"[A-Za-z]" + _WITHIN + rb")$"
)
# What panic() dumps of the trace buffer, and tp_printk: no line of printk stands between two of its lines.
_TRACE, TRACE_BUFFER = b"bpf_trace_printk: ", b"trace buffer"


class LogLine(NamedTuple):
    """One line: its number in the input (from 1), its text, and what its prefixes told.

    `is_stamped` says that any prefix stood before the text: in a log whose lines have one, a line without is the rest
    of the line before. `length` is that of the whole line in the input. `may_begin` is False where the line is known to
    have none of the words with which an event begins; `is_cut_off` where the stamp of the next has cut it off, and no
    prefix was known: then it is one itself. `host` is as syslog or the journal has it.
    """

    number: int
    text: bytes
    at_ns: int | None
    stamp: str | None
    caller: bytes | None
    is_stamped: bool
    is_quoted: bool
    length: int
    may_begin: bool = True
    is_cut_off: bool = False
    host: bytes | None = None


def log_lines(raw: bytes, number: int, *, may_begin: bool = True) -> Iterable[LogLine]:
    """The lines that a line of the input holds: more than one where line ends were escaped or lost."""
    raw = raw.rstrip(b"\r\n")
    if not raw:
        return (LogLine(number, raw, None, None, None, False, False, 0, may_begin),)
    if (usual := _USUAL.match(raw)) is not None:
        stamp, host, seconds, micros, caller, text = usual.groups()
        at_ns = int(seconds) * 10**9 + int(micros) * 1000
    elif (usual := _BARE.match(raw)) is not None:
        (stamp, host, text), at_ns, caller = usual.groups(), None, None
    else:
        text = b"kernel:"
    is_one = b"[" not in text or _NEXT_STAMP.search(text) is None
    if is_one and b"kernel:" not in text and b"bpf_trace_printk" not in text:
        written = None if stamp is None else stamp.decode()
        is_stamped = at_ns is not None or stamp is not None
        return (LogLine(number, text, at_ns, written, caller, is_stamped, False, len(raw), may_begin, False, host),)
    return _messages(raw, number, may_begin=may_begin) if _ODD.search(raw) is None else _of_odd_line(raw, number)


def _of_odd_line(raw: bytes, number: int) -> Iterator[LogLine]:
    if b"\xc2\xa0" in raw:
        raw = raw.replace(b"\xc2\xa0", b" ")  # what some mailers make of two blanks
    if b"\x1b" in raw:
        raw = _COLOUR.sub(b"", raw)
    if raw.startswith(b"{"):
        yield from _of_json(raw, number)
        return
    for part in _ESCAPED_LINE_END.split(raw):
        if part.strip():
            yield from _messages(part, number)


def _messages(text: bytes, number: int, *, may_begin: bool = True) -> Sequence[LogLine]:
    """The message behind a line's prefixes; and a second one where that has a stamp within."""
    line = without_prefixes(text, number, may_begin=may_begin)
    first, others = line.text, list[bytes]()
    if b" kernel: " in first:
        first, *others = _SYSLOG_WITHIN.split(first)
    if not others and b"[" in first[1:]:
        first, *others = _STAMP_WITHIN.split(first)
    if not others:
        return (line,)
    behind = (without_prefixes(other, number)._replace(is_quoted=line.is_quoted) for other in others)
    return [line._replace(text=first, is_cut_off=not line.is_stamped), *behind]


def without_prefixes(text: bytes, number: int, *, may_begin: bool = True) -> LogLine:
    """The message at the end of a line, and what its prefixes told."""
    length = len(text)
    at_ns: int | None = None
    stamp: str | None = None
    caller: bytes | None = None
    host: bytes | None = None
    quote = _QUOTE.match(text)
    if quote is not None:
        text = text[quote.end() :]
    indented = text.lstrip()
    if indented is not text and indented and any(form.match(indented) for form in _MAY_STAND[indented[0]]):
        text = indented
    stamped = False
    for _ in range(_MOST_PREFIXES):
        match = _prefix(text)
        if match is None:
            break
        stamped = True
        if match.lastindex:
            told = match.groupdict()
            if told.get("seconds") is not None:
                at_ns = int(told["seconds"]) * 10**9 + int(told["micros"]) * 1000
            elif told.get("kmsg_micros") is not None:
                at_ns = int(told["kmsg_micros"]) * 1000
            caller = told.get("caller") or told.get("kmsg_caller") or caller
            host = told.get("host") or host
            written = told.get("stamp") or told.get("told")
            if written is not None:
                stamp = written.decode("utf-8", "backslashreplace")
        text = text[match.end() :].lstrip()
        if match.lastgroup == "quote":
            text = text.removesuffix(b'"')
        if match.re is _OF_PRINTK and _BEHIND_PRINTK.match(text) is None:
            break
    if _TRACE in text:
        caller, text = TRACE_BUFFER, text.partition(_TRACE)[2]
    text = text.lstrip()
    return LogLine(number, text, at_ns, stamp, caller, stamped, quote is not None, length, may_begin, host=host)


def _prefix(text: bytes) -> re.Match[bytes] | None:
    """What stands before the message, as far as one form goes."""
    for form in _MAY_STAND[text[0]] if text else ():
        if (match := form.match(text)) is not None:
            return match
    return None


def _message_of(record: dict[str, Any]) -> Any:
    """What a record says: the journal's MESSAGE, a container's log, what clouds call a payload. Raises KeyError."""
    inner = record.get("jsonPayload")
    for each in (record, inner if isinstance(inner, dict) else {}):
        for name in ("MESSAGE", "log", "message", "msg", "textPayload", "@message"):
            if name in each:
                return each[name]
    raise KeyError("MESSAGE")


def _of_json(raw: bytes, number: int) -> Iterator[LogLine]:
    """A record of `journalctl -o json` or the like: a string, or the list of its bytes where it is not UTF-8."""
    try:
        record = json.loads(raw.rstrip(b","))
        message = _message_of(record)
        text = bytes(message) if isinstance(message, list) else str(message).rstrip("\n").encode()
    except (ValueError, KeyError, TypeError, RecursionError):
        yield without_prefixes(raw, number)
        return
    micros = str(record.get("_SOURCE_MONOTONIC_TIMESTAMP") or "")
    at_ns = int(micros) * 1000 if micros.isdecimal() and len(micros) < 16 else None
    # What a record holds may have been a line of syslog, which writes line ends in its own way.
    for line in (part for each in text.split(b"\n") for part in _ESCAPED_LINE_END.split(each)):
        stripped = without_prefixes(line, number)
        yield LogLine(
            number,
            stripped.text,
            stripped.at_ns if at_ns is None else at_ns,
            stripped.stamp,
            stripped.caller,
            is_stamped=True,
            is_quoted=False,
            length=0,
            host=_host_of(record) or stripped.host,
        )


def _host_of(record: dict[str, Any]) -> bytes | None:
    """The journal's _HOSTNAME, syslog's host."""
    told = record.get("_HOSTNAME") or record.get("host")
    return told.encode() if isinstance(told, str) and told else None
