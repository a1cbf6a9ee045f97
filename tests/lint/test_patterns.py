"""The check of all regular expressions (`make lint`) finds what was wrong before, and what is like it."""

from __future__ import annotations

import signal

import pytest

from lint import patterns

# As they stood in src/ when files of a hundred bytes never ended, and lines of 64 KiB took seconds.
SLOW: dict[str, str | bytes] = {
    "suffixes of a symbol": r"(?:\.(?:constprop|isra|part|cold|llvm|lto_priv|localalias)(?:\.[0-9a-z]+)*)+$",
    "pagetypeinfo": (
        rb"Node +(?P<node>\d{1,5}), zone +(?P<zone>\S{1,20}), type +(?P<type>\S{1,20}) "
        rb"(?P<counts>(?: *>?\d{1,12}){2,20}) *"
    ),
    "buddyinfo": rb"Node (?P<node>\d{1,5}), zone +(?P<zone>\S{1,20}) (?P<counts>(?: *\d{1,12}){2,20}) *",
    "owners of objects": rb" *(?P<count>\d{1,15}) (?P<caller>\S.{0,600}?)(?: waste=\d+/\d+)? age=\d+\S* pid=.*",
    "frames of kmemleak": rb" {4}(?P<frame>\S.{0,600}?) *",
    "fields of a zone": rb"(?P<name>[A-Za-z_]+(?:\([a-z]+\))?): *(?P<value>\d{1,25}(?: \d{1,25})?) ?[kK] ?B",
    "a swap line": rb"\w+ swap +=",
    "line ends": rb"\r+\n",
}


@pytest.fixture(autouse=True)
def interruptible() -> None:
    def hung(*_: object) -> None:
        raise patterns._HungError

    signal.signal(signal.SIGVTALRM, hung)


@pytest.mark.parametrize("name", SLOW)
def test_a_slow_pattern_is_found(name: str) -> None:
    """Exponential and quadratic ones, by texts made from themselves."""
    assert patterns.check(SLOW[name]) is not None


@pytest.mark.parametrize("pattern", [rb"\[ *(?P<pid>\d{1,9})\] +\d", r"(?:ab)++$", rb"[a-z]{1,600}+:", r"x*y"])
def test_a_linear_pattern_is_let_pass(pattern: str | bytes) -> None:
    """What takes in line with the text where it is asked from the beginning."""
    assert patterns.check(pattern, methods=("match", "fullmatch")) is None


def test_every_pattern_of_the_package_is_looked_at() -> None:
    """Those compiled at import, in tables, and those that are written where they are asked."""
    found = [pattern for pattern, _ in patterns.patterns()]
    assert len(found) > 250
    assert any(isinstance(pattern, bytes) and pattern.startswith(rb"Node ++(?P<node>") for pattern in found)
    assert r"^MemTotal: +(\d+) kB$" in found


def test_a_pattern_is_asked_as_the_modules_that_import_it_ask_it() -> None:
    """A table of patterns has its readers elsewhere; a search that nobody makes is not held against it."""
    ways = {pattern: methods for (pattern, _), methods in patterns.patterns().items()}
    assert ways[rb"(?P<host>[A-Za-z0-9][\w.-]{1,254}) kernel: "] == {"match"}
