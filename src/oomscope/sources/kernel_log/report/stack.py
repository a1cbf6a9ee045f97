"""The stack of who asked, and the lines around it that are known and say nothing."""

from __future__ import annotations

import re

from oomscope import bounds
from oomscope.sources.kernel_log.report.draft import Draft, ReportSection
from oomscope.text import printable

_KNOWN_AND_PASSED = re.compile(
    rb"\s*$|Tainted: \[|\s*</?[A-Z]{3,9}>|Call [Tt]race:|Stack ?:|Hardware name:|Workqueue:"
    rb"|Modules linked in:|Code:|\s*[CS]ode: "
    rb"|(?:Node \d+ )?[A-Z]\w{1,15} per-cpu:|CPU +\d+: hi:|Swap cache stats:|COMPACTION is disabled"
    rb"|\s*[0-9a-f]{8,16}(?: [0-9a-f]{8,16})*\s*$|warn_alloc\w*: \d+ callbacks|SLUB: Unable to allocate"
    rb"|\s*cache: .*object size|\s*node \d+: slabs:|[ER][A-Z0-9]{2,3}: ?[0-9a-f]|RIP: |RSP: |CR2: |[DCF]S: |PKRU"
    rb"|ORIG_RAX|EIP: |Kernel Offset|---\[ end|SMP: stopping|Rebooting in|\[ dump_slubinfo|pstate:|[pl][cr] : |x\d+ ?:"
    rb"|oom_reaper: |Backtrace:|Exception |\s*\.\.\.|Dumping ftrace buffer:|-{33}$"
)
_FRAME = re.compile(
    rb"\s*(?:\[?<?[0-9a-fx]{8,18}>?\]? ?){0,2}(?P<guess>\? )?(?:\[<\w+>\] )?"
    rb"\(?(?P<frame>[\w.$]{1,120}(?:\+0x[0-9a-f]+/0x[0-9a-f]+)?(?: \[[\w ]+\])?)\)?"
    rb"(?: from \S+(?: \([^)]*\))?)?(?: \(unreliable\))?\s*$"
)
# Registers that only one architecture has, as its show_regs() prints them.
_REGISTERS = re.compile(
    rb"(?P<x86_64>RIP: |RSP: )|(?P<i386>EIP: )|(?P<arm64>pstate: )|(?P<ppc64>NIP: +[0-9a-f]{16}|NIP \[[0-9a-f]{16}\])"
    rb"|(?P<s390x>(?:Krnl|User) PSW : )|(?P<riscv64>epc : [0-9a-f]{16})"
)


class CallTrace(ReportSection):
    """Frames, the innermost first; the architecture, where registers tell it."""

    __slots__ = ("arch", "frames")

    def __init__(self, draft: Draft) -> None:
        super().__init__(draft)
        self.arch: str | None = None
        self.frames: list[str] = []

    def take(self, text: bytes, number: int) -> bool:  # noqa: ARG002 - one signature for all
        """See ReportSection."""
        self.draft.passed += 1
        self.draft.remember(text)
        if self.arch is None and (registers := _REGISTERS.match(text)) is not None:
            self.arch = registers.lastgroup
        if _KNOWN_AND_PASSED.match(text) is not None:
            return True
        if b"+0x" not in text and b" from " not in text:
            return False
        match = _FRAME.match(text)
        if match is None:
            return False
        frame = match["frame"]
        if (
            match["guess"] is None
            and not self.draft.is_counting
            and len(self.frames) < bounds.LOG_STACK_FRAMES
            and b"+0x" in frame
        ):
            self.frames.append(printable(frame))
        return True
