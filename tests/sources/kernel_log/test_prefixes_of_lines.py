"""The same report through every collector, mailer and terminal is the same event."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from typing import Any

import pytest

from oomscope.model.oom_event import OomEvent
from tests.support import captures, corpus

# Reports whose lines are printk's own: `[   12.345678] text`.
BASES = {
    "6.1 console": captures.CONSOLE_6_1,
    "6.12 console": captures.CONSOLE_6_12,
    "3.13 failure": corpus.path("009-ubuntu-order4-radeon-java.log"),
    "5.3 callers": corpus.path("027-leaker-memcg-caller-id.log"),
    "6.15 kill": corpus.path("106-steamdeck-pstore-memchewer.log"),
    "6.9 lowmem": corpus.path("092-ppc32-lowmem-693.log"),
}
_STAMPED = re.compile(r"^(?:<\d>)?\[ *(\d+)\.(\d{6})\](?:\[ *[TC]\d+\])? ?(.*)$")
_GOES_ON = re.compile(r" (?:active_file|unevictable|slab_reclaimable|mapped|free|sec_page|kernel_misc|bounce)")
Lines = list[tuple[int, str]]  # microseconds and text


def _syslog_time(_micros: int) -> str:
    return "Nov 19 21:02:11"


def dmesg(lines: Lines) -> str:
    """Printk's own."""
    return "".join(f"[{micros // 10**6:5}.{micros % 10**6:06}] {text}\n" for micros, text in lines)


def _each(form: Callable[[int, str], str]) -> Callable[[Lines], str]:
    return lambda lines: "".join(form(micros, text) + "\n" for micros, text in lines)


def _stamp(micros: int) -> str:
    return f"[{micros // 10**6:5}.{micros % 10**6:06}]"


def _of_one_message(lines: Lines) -> list[tuple[int, list[str]]]:
    """Lines of one stamp whose later ones begin with a blank are one printk: Mem-Info's counters."""
    messages: list[tuple[int, list[str]]] = []
    for micros, text in lines:
        goes_on = re.match(
            r" (?:active_file|unevictable|slab_reclaimable|mapped|free|sec_page|kernel_misc|bounce)", text
        )
        if messages and messages[-1][0] == micros and goes_on:
            messages[-1][1].append(text)
        else:
            messages.append((micros, [text]))
    return messages


def _messages(form: Callable[[int, str], str], joint: str) -> Callable[[Lines], str]:
    return lambda lines: "".join(form(micros, joint.join(texts)) + "\n" for micros, texts in _of_one_message(lines))


def _mail(lines: Lines, width: int) -> str:
    """Wrapped by a mailer at blanks, as quoted text."""
    out = []
    for line in dmesg(lines).splitlines():
        rest = line
        while len(rest) > width and " " in rest[20:width]:
            cut = rest.rindex(" ", 20, width)
            out.append(rest[:cut])
            rest = rest[cut + 1 :]
        out.append(rest)
    return "".join(f"> {line}\n" for line in out)


def _quoted_printable(text: str) -> list[str]:
    """As some mailers send it: `=` written out, lines broken softly at 76."""
    lines = []
    for line in text.replace("=", "=3D").splitlines():
        rest = line
        while len(rest) > 76:
            cut = 72 - (rest[71] == "=") * 1 - (rest[70] == "=") * 2
            lines.append(rest[:cut] + "=")
            rest = rest[cut:]
        lines.append(rest)
    return lines


def _maybe_bytes(text: str) -> str | list[int]:
    """The journal writes a message as its bytes where these are no text; here all but the telling ones are."""
    return text if "emory" in text or "lowmem" in text else list(text.encode())


COLLECTORS: dict[str, Callable[[Lines], str]] = {
    "dmesg": dmesg,
    "dmesg -x": _each(lambda us, text: f"kern  :warn  : {_stamp(us)} {text}"),
    "serial": lambda lines: dmesg(lines).replace("\n", "\r\n"),
    "level": _each(lambda us, text: f"<4>{_stamp(us)} {text}"),
    "caller": _each(lambda us, text: f"{_stamp(us)}[  T123] {text}"),
    "console of two callers": _each(
        lambda us, text: f"{_stamp(us)}[  T123] {text}\n{_stamp(us)}[    C1] usb 1-1: reset"
    ),
    "syslog": _each(lambda us, text: f"{_syslog_time(us)} host kernel: {_stamp(us)} {text}"),
    "syslog, #012": _messages(lambda us, text: f"{_syslog_time(us)} host kernel: {_stamp(us)} {text}", "#012"),
    "rsyslog": _each(lambda us, text: f"2026-11-19T21:02:11.123456+01:00 host kernel: {_stamp(us)} {text}"),
    "kmsg": _each(lambda us, text: f"4,1234,{us},-;{text}"),
    "kmsg with escapes": _messages(lambda us, text: f"4,1234,{us},-,caller=T12;{text}", r"\x0a"),
    "netconsole": _each(lambda us, text: f"6.12.1,4,1234,{us},-;{text}"),
    "journal as JSON": _messages(
        lambda us, text: json.dumps({"MESSAGE": text, "_SOURCE_MONOTONIC_TIMESTAMP": str(us), "PRIORITY": "4"}), "\n"
    ),
    "journal as JSON, some in bytes": _messages(
        lambda us, text: json.dumps({"MESSAGE": _maybe_bytes(text), "_SOURCE_MONOTONIC_TIMESTAMP": str(us)}), "\n"
    ),
    "Android": _each(lambda us, text: f"07-13 08:41:51.341 <4>[{us // 10**6}.{us % 10**6:06}s][pid:1,cpu5,init]{text}"),
    "logcat": _each(lambda us, text: f"07-13 08:41:51.341  root     0     0 W         : {_stamp(us)} {text}"),
    "pstore": lambda lines: "Panic#2 Part1\n" + _each(lambda us, text: f"<4>{_stamp(us)} {text}")(lines),
    "quoted": lambda lines: "".join(f"> > {line}\n" for line in dmesg(lines).splitlines()),
    "indented": lambda lines: "".join(f"    {line}\n" for line in dmesg(lines).splitlines()),
    "mail, wrapped": lambda lines: _mail(lines, 76),
    "colour": _each(lambda us, text: f"\x1b[32m{_stamp(us)} \x1b[0m\x1b[33m{text}\x1b[0m"),
    "no-break blanks": lambda lines: dmesg(lines).replace("]  ", "]\u00a0 "),
}
COLLECTORS |= {
    "journal, short-monotonic": _each(lambda us, text: f"{_stamp(us)} web01 kernel: {text}"),
    "dmesg, with deltas": _each(lambda us, text: f"[{us // 10**6:5}.{us % 10**6:06} <    0.000007>] {text}"),
    "MediaTek": _each(lambda us, text: f"<3>{_stamp(us)}  (1)[1234:java]{text}"),
    "Qualcomm": _each(lambda us, text: f"{_stamp(us)} I[3:           java: 1234] {text}"),
    "Samsung": _each(lambda us, text: f"{_stamp(us)} c3   1234 {text}"),
    "two blanks": _each(lambda us, text: f"{_stamp(us)}  {text}"),
    "quoted-printable": lambda lines: "".join(f"{line}\n" for line in _quoted_printable(dmesg(lines))),
}


def _verbose(text: str) -> str:
    first, *rest = text.split("\n")
    told = "\n".join([f"    MESSAGE={first}", *(f"            {line}" for line in rest)])
    return f"Thu 2026-11-19 21:02:11.123456 CET [s=0;i=1]\n    PRIORITY=4\n{told}\n    _HOSTNAME=web01"


def _export(text: str) -> str:
    told = f"MESSAGE={text}"
    if "\n" in text:
        told = "MESSAGE\n" + len(text.encode()).to_bytes(8, "little").decode("latin-1") + text
    return f"__CURSOR=s=0;i=1\n__REALTIME_TIMESTAMP=1763582531123456\nPRIORITY=4\n{told}\n_HOSTNAME=web01\n"


UNTIMED: dict[str, Callable[[Lines], str]] = {
    "journal, short-full": _each(lambda _us, text: f"Thu 2026-11-19 21:02:11 CET web01 kernel: {text}"),
    "journal, short-unix": _each(lambda us, text: f"1700000000.{us % 10**6:06} web01 kernel: {text}"),
    "journal, verbose": _messages(lambda _us, text: _verbose(text), "\n"),
    "journal, export": _messages(lambda _us, text: _export(text), "\n"),
    "journal, json-pretty": _messages(
        lambda _us, text: json.dumps({"PRIORITY": "4", "MESSAGE": text, "_HOSTNAME": "web01"}, indent=8), "\n"
    ),
    "dmesg --json": lambda lines: (
        json.dumps(
            {"dmesg": [{"pri": 4, "time": us / 1e6, "msg": "\n".join(texts)} for us, texts in _of_one_message(lines)]},
            indent=3,
        )
        + "\n"
    ),
    "Docker": _each(
        lambda _us, text: json.dumps({"log": text + "\n", "stream": "stdout", "time": "2026-11-19T20:02:11Z"})
    ),
    "CRI": _each(lambda _us, text: f"2026-11-19T20:02:11.123456789Z stdout F {text}"),
    "Talos": _each(lambda _us, text: f"kern: warning: [2026-11-19T20:02:11.123456789Z]: {text}"),
    "CloudWatch": lambda lines: "timestamp,message\n" + "".join(f"1763582531123,{text}\n" for _, text in lines),
    "Google's export": _messages(
        lambda _us, text: json.dumps({"severity": "WARNING", "jsonPayload": {"message": text}}), "\n"
    ),
    "CR alone": lambda lines: "".join(f"{text}\r" for _, text in lines),
    "dmesg, ISO": _each(lambda _us, text: f"2026-11-19T21:02:11,123456+01:00 {text}"),
    "dmesg -H": lambda lines: "[Nov19 21:02] first\n" + _each(lambda _us, text: f"[  +0.000012] {text}")(lines),
    "syslog, day not padded": _each(lambda _us, text: f"Mar 3 04:05:06 web01 kernel: {text}"),
    "busybox": _each(lambda _us, text: f"Jan  1 00:05:06 (none) user.warn kernel: {text}"),
    "no stamps": _each(lambda _us, text: text),
    "dmesg -T": _each(lambda _us, text: f"[Thu Nov 19 21:02:11 2026] {text}"),
    "dmesg -T, German": _each(lambda _us, text: f"[Do Nov 19 21:02:11 2026] {text}"),
    "journal, short": _messages(lambda us, text: f"{_syslog_time(us)} host kernel: {text}", "\n"),
}


@cache
def lines_of(name: str) -> tuple[tuple[int, str], ...]:
    """The stamped lines of a base, from its header to its end."""
    lines: Lines = []
    for raw in captures.text(BASES[name]).decode(errors="replace").splitlines():
        match = _STAMPED.match(raw)
        if match is not None:
            lines.append((int(match[1]) * 10**6 + int(match[2]), match[3]))
    first = next(i for i, (_, text) in enumerate(lines) if "invoked oom-killer" in text or "allocation failure" in text)
    return tuple(lines[first:])


def told(text: str) -> list[dict[str, Any]]:
    """The events of a log, but for where and when they stand."""
    return [_without_places(event) for event in corpus.events(text.encode())]


def _without_places(event: OomEvent) -> dict[str, Any]:
    fields = asdict(event)
    for name in ("lines", "texts", "first_line", "last_line", "unknown", "unknown_count", "stamp", "at_ns", "host"):
        del fields[name]
    for name in ("zones", "nodes", "huge_pages", "slab_caches", "call_sites", "processes", "victims"):
        for entry in fields[name]:
            del entry["line"]
    for name in ("memcg", "slab_request", "cma_request"):
        if fields[name] is not None:
            del fields[name]["line"]
    return fields


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("collector", COLLECTORS)
def test_every_collector_tells_the_same_event(base: str, collector: str) -> None:
    """Whatever stands before the lines, whatever ends them, wherever they are wrapped: each number is the same."""
    lines = list(lines_of(base))
    plain = dmesg(lines)
    assert told(COLLECTORS[collector](lines)) == told(plain)
    expected_ns = [event.at_ns for event in corpus.events(plain.encode())]
    assert [event.at_ns for event in corpus.events(COLLECTORS[collector](lines).encode())] == expected_ns


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("collector", UNTIMED)
def test_logs_without_time_since_boot_tell_the_same_event(base: str, collector: str) -> None:
    """A stamp in wall time, or none at all, costs the order of events and nothing else."""
    lines = list(lines_of(base))
    text = UNTIMED[collector](lines)
    assert told(text) == told(dmesg(lines))
    assert all(event.at_ns is None for event in corpus.events(text.encode()))


def test_two_events_interleaved_line_by_line_are_told_apart_by_their_callers() -> None:
    """Two CPUs that report at once, each line with its caller: two whole events."""
    one, other = list(lines_of("6.12 console")), list(lines_of("6.15 kill"))
    mixed = []
    for index in range(max(len(one), len(other))):
        mixed += [f"{_stamp(us)}[    C0] {text}" for us, text in one[index : index + 1]]
        mixed += [f"{_stamp(us)}[    C1] {text}" for us, text in other[index : index + 1]]
    both = told("\n".join(mixed) + "\n")
    apart = told(dmesg(one)) + told(dmesg(other))
    assert sorted(map(str, both)) == sorted(map(str, apart))


def test_a_second_message_on_one_line_is_a_line_of_its_own() -> None:
    """A console that lost a line end glues a report's header to what was printed before."""
    plain = dmesg(list(lines_of("6.12 console")))
    assert told("Creating journal (262144 blocks): " + plain) == told(plain)


@pytest.mark.parametrize("form", ["syslog", "rsyslog", "journal, short"])
def test_the_host_is_told(form: str) -> None:
    """As syslog and the journal name the machine, before the kernel's own words."""
    text = {**COLLECTORS, **UNTIMED}[form](list(lines_of("6.15 kill")))
    assert {event.host for event in corpus.events(text.encode())} == {"host"}
