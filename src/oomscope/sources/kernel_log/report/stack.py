"""The stack of who asked, and the lines around it that are known and say nothing."""

from __future__ import annotations

import re

from oomscope import bounds
from oomscope.model.oom_event import KILL, MEMCG_KILL, SHOWN
from oomscope.sources.kernel_log.report.draft import Draft, ReportSection
from oomscope.text import printable

_KNOWN_AND_PASSED = re.compile(
    rb"\s*$|Tainted: \[|\s*</?[A-Z]{3,9}>|Call [Tt]race:|Stack ?:|Hardware name:|Workqueue:"
    rb"|Modules linked in:|Code:|\s*[CS]ode: "
    rb"|(?:Node \d+ )?[A-Z]\w{1,15} per-cpu:|CPU +\d+: hi:|Swap cache stats:|COMPACTION is disabled"
    rb"|\s*[0-9a-f]{8,16}(?: [0-9a-f]{8,16})*\s*$|warn_alloc\w*: \d+ callbacks"
    rb"|\s*node \d+: slabs:|[ER][A-Z0-9]{2,3}: ?[0-9a-f]|RIP: |RSP: |CR2: |[DCF]S: |PKRU"
    rb"|ORIG_RAX|EIP: |Kernel Offset|---\[ end|SMP: stopping|Rebooting in|\[ dump_slubinfo|pstate:|[pl][cr] : |x\d+ ?:"
    rb"|Backtrace:|Exception |\s*\.\.\.|Dumping ftrace buffer:|-{33}$"
)
_TITLE = re.compile(rb"Call [Tt]race:")
_FRAME = re.compile(
    rb"\s*(?:\[?<?[0-9a-fx]{8,18}>?\]? ?){0,2}(?P<guess>\? )?(?:\[<\w+>\] )?"
    rb"\(?(?P<frame>[\w.$]{1,120}(?:\+0x[0-9a-f]+/0x[0-9a-f]+)?(?: \[[\w ]+\])?)\)?"
    rb"(?: from \S+(?: \([^)]*\))?)?(?: \(unreliable\))?\s*$"
)
# The unwinder of ARM names the callee and its caller: `warn_alloc from __alloc_pages+0xe9c/0xfe8`,
# `[<80094474>] (warn_alloc_failed+0xe0/0x118) from [<8009723c>] (__alloc_pages_nodemask+0x640/0x89c)`.
_FRAME_OF_ARM = re.compile(
    rb"\s*+(?:\[<[0-9a-f]{8}>\] )?\(?[\w.$]{1,120}+(?:\+0x[0-9a-f]{1,16}+/0x[0-9a-f]{1,16}+)?(?: \[\w{1,60}+\])?\)?"
    rb" from (?:\[<[0-9a-f]{8}>\] )?\(?(?P<frame>[\w.$]{1,120}+\+0x[0-9a-f]{1,16}+/0x[0-9a-f]{1,16}+"
    rb"(?: \[[\w ]{1,60}+\])?)\)?\s*+$"
)
# Functions that print a report: a stack that has one is that of a report whose first lines are lost.
_PRINTERS = re.compile(
    rb"(?P<memcg>\bmem_cgroup_out_of_memory)\+0x|(?P<oom>\b(?:dump_header|oom_kill_process|out_of_memory))[.\w]{0,20}\+0x"
    rb"|(?P<failure>\bwarn_alloc(?:_failed)?)(?:[.\w]{0,20}\+0x| from )"
)
# Registers that only one architecture has, as its show_regs() prints them.
_REGISTERS = re.compile(
    rb"(?P<x86_64>RIP: |RSP: )|(?P<i386>EIP: )|(?P<arm64>pstate: )|(?P<ppc64>NIP: +[0-9a-f]{16}|NIP \[[0-9a-f]{16}\])"
    rb"|(?P<s390x>(?:Krnl|User) PSW : )|(?P<riscv64>epc : [0-9a-f]{16})"
)
# Symbols of the same kind: entry code and system calls carry their architecture's name.
_SYMBOLS = re.compile(
    rb"\b(?:(?P<x86_64>__x64_sys_|entry_SYSCALL_64|system_call_fastpath)"
    rb"|(?P<i386>sysenter_past_esp|entry_SYSENTER_32|entry_INT80_32)|(?P<arm64>__arm64_sys_|el0t_64_sync|el1h_64_)"
    rb"|(?P<arm>__dabt_usr|__dabt_svc|ret_fast_syscall|__irq_svc|__irq_usr)|(?P<s390x>__s390x_sys_|__s390_sys_)"
    rb"|(?P<riscv64>__riscv_sys_|do_trap_ecall_u)"
    # No other has its kernel at 0xffffffff80000000 and a function of that name.
    rb")|(?P<riscv64_by_address>\[<ffffffff80[0-9a-f]{6}>\] dump_backtrace\+)"
)


def printed_by(text: bytes) -> str | None:
    """Of a frame, which report its function prints: `oom`, `memcg`, `failure`; None for any other line."""
    if b"+0x" not in text and b" from " not in text:
        return None
    match = _PRINTERS.search(text)
    return None if match is None else match.lastgroup


class CallTrace(ReportSection):
    """Frames, the innermost first; the architecture, where registers or symbols tell it.

    `guesses` are the frames that the unwinder was not sure of: unwinders before 4.x mark all of theirs so.
    """

    __slots__ = ("_guesses", "_sure", "_titles", "arch")

    def __init__(self, draft: Draft) -> None:
        super().__init__(draft)
        self.arch: str | None = None
        self._sure: list[str] = []
        self._guesses: list[str] = []
        self._titles = 0

    @property
    def frames(self) -> list[str]:
        """Those that are sure, else the guesses."""
        return self._sure or self._guesses

    def take(self, text: bytes, number: int) -> bool:
        """See ReportSection."""
        self.draft.passed += 1
        self.draft.remember(text)
        if b"ioremap failed" in text:
            self.draft.at("ioremap", number, text)
        if self.arch is None and (registers := _REGISTERS.match(text)) is not None:
            self.arch = registers.lastgroup
        if _KNOWN_AND_PASSED.match(text) is not None:
            if _TITLE.match(text) is not None:
                self._titles += 1
            return True
        if b"+0x" not in text and b" from " not in text:
            return False
        match = _FRAME_OF_ARM.match(text) if b" from " in text else None
        match = match or _FRAME.match(text)
        if match is None:
            return False
        if self.arch is None and (symbol := _SYMBOLS.search(text)) is not None:
            self.arch = str(symbol.lastgroup).removesuffix("_by_address")
        frame = match["frame"]
        if b"mem_cgroup_out_of_memory+" in frame and not self.draft.is_counting:
            self.draft.kind = MEMCG_KILL if self.draft.kind in (KILL, SHOWN) else self.draft.kind
        if self._titles > 1:
            return True  # another task's, which the kernel printed in between: the report's own came first
        kept = self._guesses if match.groupdict().get("guess") else self._sure
        if not self.draft.is_counting and len(kept) < bounds.LOG_STACK_FRAMES and b"+0x" in frame:
            kept.append(printable(frame))
        return True
