"""/proc/PID/status and smaps_rollup (fs/proc/task_mmu.c): what one process has in RAM."""

from __future__ import annotations

import re

from oomscope import bounds
from oomscope.model.account import BYTES, PROCESS
from oomscope.model.reading import Notes
from oomscope.sources.base import AccountSource
from oomscope.sources.entries import Entries
from oomscope.text import Lines, printable

ROW = re.compile(
    rb"\s*(?P<name>Vm(?:Peak|Size|Lck|Pin|HWM|RSS|Data|Stk|Exe|Lib|PTE|PMD|Swap)|Rss(?:Anon|File|Shmem)?|Pss(?:_\w{4,8})?"
    rb"|(?:Shared|Private)_(?:Clean|Dirty|Hugetlb)|Referenced|Anonymous|LazyFree|AnonHugePages|ShmemPmdMapped|Swap(?:Pss)?"
    rb"|Locked|KSM|HugetlbPages|CoreDumping):\s+(?P<kib>\d{1,15}) kB\s*$"
)
_PID = re.compile(rb"\s*Pid:\s+(?P<pid>\d{1,9})\s*$")
NAME = re.compile(rb"\s*Name:[\t ]+(?P<name>\S.{0,60}?)\s{0,80}+$")
BEGINS = re.compile(
    rb"\s*(?:Name:[\t ]+\S.{0,60}\s{0,80}+$|VmPeak:\s+\d+ kB|[0-9a-f]{8,16}-[0-9a-f]{8,16} ---p .{0,80}\[rollup\])"
)
_BEGINNING = re.compile(
    rb"Name:\t\S[^\n]{0,60}\n(?:Umask|State):\t|[0-9a-f]{8,16}-[0-9a-f]{8,16} ---p [^\n]{0,80}\[rollup\]\n"
)
ABOUT = re.compile(
    rb"\s*(?:Umask|State|[TNP]gid|P?Pid|TracerPid|[UG]id|FDSize|Groups|NS(?:tgid|pid|pgid|sid)|Kthread|Threads|Sig\w{1,4}|Shd\w{3}"
    rb"|Cap\w{3}|NoNewPrivs|Seccomp\w{0,10}|Speculation\w{1,40}|(?:Cp|Me)us?m?s_allowed\w{0,5}|(?:non)?voluntary_ctxt_switches"
    rb"|THP_enabled|untag_mask|x86_\w{1,30}):"
)
_TRUEST = ("VmRSS", "Rss", "Pss")
_UNNAMED = "a process"


def _recognises(head: bytes) -> bool:
    """The name, with the umask or the state behind it; the rollup's line of addresses."""
    return _BEGINNING.match(head) is not None


def _read(rows: Lines) -> Notes:
    """`notes.accounts.tables` has the processes, in bytes."""
    notes = Notes()
    found = Entries(notes)
    told: dict[tuple[str, bytes], dict[str, int]] = {}  # the last reading of each process
    name, pid, values = _UNNAMED, b"", dict[str, int]()
    for line in rows:
        text = line or b""
        named = NAME.match(text)
        if named is not None or (values and BEGINS.match(text) is not None):
            if values:
                told[name, pid] = values
            name, pid, values = _UNNAMED if named is None else printable(named["name"]), b"", {}
        elif (match := _PID.match(text)) is not None:
            pid = match["pid"]
        if (match := ROW.match(text)) is not None:
            values.setdefault(match["name"].decode(), int(match["kib"]))
        elif line is None or (text.strip() and ABOUT.match(text) is None and NAME.match(text) is None):
            notes.stats.unknown_lines += 1
        if len(told) > bounds.NAMES:
            break
    if values:
        told[name, pid] = values
    for (name, _), each in told.items():
        _keep(found, name, each)
    notes.accounts.tables = found.account(PROCESS, BYTES, "processes")
    return notes


def _keep(found: Entries, name: str, told: dict[str, int]) -> None:
    size = next((told[each] for each in _TRUEST if each in told), None)
    if size is not None:
        parts = [f"{each} {told[each]:,} kB" for each in ("RssAnon", "RssShmem", "VmSwap", "Swap") if told.get(each)]
        found.merge(name, size * 1024, None, ", ".join(parts))


PROCESS_STATUS = AccountSource("process status", _recognises, _read)
