"""One report in many clothes: another prefix, quoting, names, sizes, what surrounds it. The class stays."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import oomscope
from oomscope.errors import OomscopeError
from tests.support import captures, corpus

_PRINTK = re.compile(rb"^\[ *\d+\.\d{6}\] ")
_PIDS = re.compile(rb"(?<=\bPID: )\d+|(?<=\bpid=)\d+|(?<=[Pp]rocess )\d+(?= \()")


def _lines(text: bytes, change: Callable[[bytes], bytes]) -> bytes:
    return b"".join(change(line) + b"\n" for line in text.split(b"\n"))


VARIANTS: dict[str, Callable[[bytes], bytes]] = {
    "quoted": lambda text: _lines(text, lambda line: b"> " + line),
    "quoted twice": lambda text: _lines(text, lambda line: b"> > " + line),
    "syslog": lambda text: _lines(text, lambda line: b"Nov 27 10:00:00 web-1 kernel: " + line),
    "journal in Russian": lambda text: _lines(text, lambda line: "ноя 27 10:00:00 web-1 kernel: ".encode() + line),
    "containers": lambda text: _lines(text, lambda line: b"2026-11-27T10:00:00.123456789Z stdout F " + line),
    "without stamps": lambda text: _lines(text, lambda line: _PRINTK.sub(b"", line)),
    "carriage returns": lambda text: text.replace(b"\n", b"\r\n"),
    "in a fence": lambda text: b"Hi,\n\nit died again:\n\n```\n" + text + b"\n```\n\nAny idea?\n",
    "after a boot": lambda text: (
        b"[    0.000000] Linux version 6.1.0 (a@b) (gcc) #1 SMP\n[    1.000000] usb 1-1: new\n" + text
    ),
    "other names": lambda text: text.replace(b"java", b"lava").replace(b"stress", b"strain"),
    "other pids": lambda text: _PIDS.sub(lambda match: b"7" + match[0], text),
    "in CSV": lambda text: _lines(text, lambda line: b'1700000000000,"' + line.replace(b'"', b"'") + b'"'),
}
# Whole reports, each of one event and with a printk stamp before each line, so that a variant is the same text.
_LEAST_LOGS, _LARGEST_BYTES, _STAMPED = 15, 40_000, 0.95


def _class_of(path: Path) -> tuple[str, str | None] | None:
    try:
        oom = oomscope.explain(path).oom
    except OomscopeError:
        return None
    return None if oom is None else (oom.oom_class, oom.certainty)


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bytes, str]]:
    """The texts by name, and the class of each."""
    found = {}
    folder = tmp_path_factory.mktemp("plain")
    for source in sorted((*corpus.CORPUS.glob("*.zst"), *(captures.DATA / "reports").glob("*.zst"))):
        text = captures.text(source)
        lines = [line for line in text.split(b"\n") if line]
        stamped = sum(_PRINTK.match(line) is not None for line in lines)
        if len(text) > _LARGEST_BYTES or stamped < _STAMPED * len(lines):
            continue
        path = folder / source.stem
        path.write_bytes(text)
        told = _class_of(path)
        if told is not None and told[0] != "undetermined":
            found[source.stem] = (text, told[0])
    assert len(found) >= _LEAST_LOGS
    return found


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_class_stays(variant: str, logs: dict[str, tuple[bytes, str]], tmp_path: Path) -> None:
    """Whatever collectors and mails do to a log."""
    other = {}
    for name, (text, oom_class) in logs.items():
        path = tmp_path / name
        path.write_bytes(VARIANTS[variant](text))
        told = _class_of(path)
        if told is None or told[0] != oom_class:
            other[name] = (told, oom_class)
    assert other == {}
