"""What crash and drgn print in the kernel's own format: the debugger's lines around it cost nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import oomscope
from tests.support import captures

BANNER = b"""\

crash 8.0.4++
Copyright (C) 2002-2022  Red Hat, Inc.

      KERNEL: vmlinux
    DUMPFILE: vmcore  [PARTIAL DUMP]
        CPUS: 2
       PANIC: "Kernel panic - not syncing: System is deadlocked on memory"
     COMMAND: "init"

crash> """
# crash's log and log -m; drgn's print_dmesg() is the first without a prompt.
LOGS = {
    "crash log": BANNER + b"log\n%s\ncrash> quit\n",
    "crash log -m": BANNER + b"log -m\n%s\ncrash> quit\n",
    "drgn print_dmesg()": b">>> print_dmesg()\n%s\n>>> \n",
}


@pytest.mark.parametrize("name", LOGS)
def test_a_log_printed_by_a_debugger_is_a_log(name: str, tmp_path: Path) -> None:
    """The same class, consumers and balance as of the console itself."""
    console = captures.text(captures.CONSOLE_6_12)
    if name.endswith("-m"):
        console = re.sub(rb"(?m)^\[", b"<6>[", console)
    path = tmp_path / "log.txt"
    path.write_bytes(LOGS[name].replace(b"%s", console))
    verdict, plain = oomscope.explain(path), oomscope.explain(captures.CONSOLE_6_12)
    assert verdict.oom is not None
    assert plain.oom is not None
    assert verdict.oom.oom_class == plain.oom.oom_class
    assert verdict.consumers == plain.consumers
    assert verdict.balance is not None
    assert plain.balance is not None
    assert [(row.kind, row.pages) for row in verdict.balance.rows] == [
        (row.kind, row.pages) for row in plain.balance.rows
    ]


def test_records_that_an_extension_of_crash_prints_again(tmp_path: Path) -> None:
    """Frames with the address in brackets, two blanks before them: the same stacks and pages."""
    records = re.sub(rb"\n (\S+\+0x[^\n]*)", rb"\n  [<ffffffff8120b0a3>] \1", captures.text(captures.AFTER_6_12))
    path = tmp_path / "page_owner.txt"
    path.write_bytes(b"crash> meminfo -o\n" + records + b"crash> quit\n")
    pages = [{c.holding.stack: c.pages for c in oomscope.explain(p).consumers} for p in (path, captures.AFTER_6_12)]
    assert pages[0] == pages[1]
