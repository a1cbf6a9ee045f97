"""Accounts within what people write: where they begin and end, and what makes none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import oomscope
from oomscope.errors import UnknownContent

MEMINFO = """\
MemTotal:       16291568 kB
MemFree:          213616 kB
MemAvailable:     314772 kB
Buffers:          110168 kB
Cached:           282588 kB
AnonPages:       1300000 kB
Shmem:              1000 kB
SReclaimable:     100000 kB
SUnreclaim:     13900000 kB
"""
WRAPPINGS: dict[str, Callable[[str], str]] = {
    "as it is": lambda line: line,
    "quoted": lambda line: f"> {line}",
    "quoted twice": lambda line: f"> > {line}",
    "set in": lambda line: f"    {line}",
    "grep -n": lambda line: f"12:{line}",
    "grep -H": lambda line: f"/proc/meminfo:{line}",
    "bold": lambda line: f"**{line}**",
    "code": lambda line: f"`{line}`",
    "listed": lambda line: f"- {line}",
    "html": lambda line: f"<pre>{line}</pre>",
    "carriage returns": lambda line: f"{line}\r",
    "no-break spaces": lambda line: line.replace(" ", "\u00a0"),
}


def claims(tmp_path: Path, text: str) -> list[str]:
    """Of a file with this text."""
    path = tmp_path / "mail.txt"
    path.write_text(text)
    return [finding.claim for finding in oomscope.explain(path).findings]


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_what_stands_around_a_line_changes_nothing(tmp_path: Path, wrapping: str) -> None:
    """The answer is that of the file itself."""
    wrapped = "\n".join(WRAPPINGS[wrapping](line) for line in MEMINFO.splitlines())
    found = claims(tmp_path, f"Hi all,\n\nthe box hangs. $ cat /proc/meminfo\n{wrapped}\n\nThanks\n")
    assert found[0].startswith("slab holds 13.4 GiB (3,500,000 pages), 85.9 % of RAM")


def test_of_two_moments_the_last_is_used(tmp_path: Path) -> None:
    """They are never added up."""
    later = MEMINFO.replace("13900000", "14000000").replace("1300000 kB", "1200000 kB")
    found = claims(tmp_path, f"before:\n{MEMINFO}\nafter:\n{later}\n")
    assert found[0].startswith("slab holds 13.4 GiB (3,525,000 pages)")


@pytest.mark.parametrize(
    "prose",
    [
        "The MemTotal: 16291568 kB line looks odd to me.\nSo does MemFree: 3 kB.\n",
        "Mem: I think 16 GiB total are enough, 3 free slots\n",
        "def dentry(x):\n    return x  # 12 times, 9 pages\n",
        "Name: John\nState: happy\nThreads: 3\n",
        "usage: free [options]\n total used free\n",
        "PID USER COMMAND of my script\nhello world\n",
    ],
)
def test_prose_makes_no_account(tmp_path: Path, prose: str) -> None:
    """A line or two that look like one."""
    with pytest.raises(UnknownContent):
        claims(tmp_path, prose * 2)


def test_a_refusal_says_what_it_saw(tmp_path: Path) -> None:
    """Where, of what kind, and how little of it."""
    with pytest.raises(UnknownContent, match=r"line 3 looks like meminfo, cut after 2 lines"):
        claims(tmp_path, "Hi,\n\nMemTotal:       16291568 kB\nMemFree:          213616 kB\nand then it hung\n")


def test_the_release_of_uname_is_the_machines(tmp_path: Path) -> None:
    """`uname -a` beside an account."""
    path = tmp_path / "mail.txt"
    path.write_text(f"$ uname -a\nLinux box 6.1.0-18-amd64 #1 SMP Debian 6.1.76-1 x86_64 GNU/Linux\n$ free\n{MEMINFO}")
    assert oomscope.explain(path).kernel.release == "6.1.0-18-amd64"
