"""The line that opens an event, and what the kernel says of the task: who asked for what, on which kernel."""

from __future__ import annotations

import re

from oomscope.model.oom_event import FAILURE, KILL, VMALLOC_FAILURE
from oomscope.sources.kernel_log.prefixes import LogLine
from oomscope.sources.kernel_log.report.draft import Draft, ReportSection
from oomscope.text import either, printable

_MASK = rb"(?:(?:gfp_mask=|mode:)(?P<mask>0x[0-9a-f]{1,16})(?: ?\((?P<flags>[^)]{0,1000})\))?)"
_INVOKED = re.compile(rb"(?P<comm>.{1,80}?) ?invoked oom-killer: ?" + _MASK + rb",? *(?P<rest>.*)")
# Up to 2.6.15 nobody is named; what is asked for may be cut off behind the mask.
_INVOKED_OLD = re.compile(rb"oom-killer: " + _MASK + rb",? *(?P<rest>.*)")
_INVOKED_EDITED = re.compile(rb"(?P<comm>\S.{0,40}?) invoked oom-killer\s*$")
# A console that two processors write to may have the line in pieces.
_FAILED_PIECE = re.compile(rb"page allocation failure[:.] ?order:(?P<order>\d{1,3})(?:,? *" + _MASK + rb")?\s*$")
_MASK_PIECE = re.compile(rb", ?" + _MASK)
_FAILED = re.compile(rb"(?P<comm>.{1,80}?): page allocation failure[:.] ?order:(?P<order>\d{1,3}),? *" + _MASK + rb"?")
# 2.4: nobody is named, and nothing follows (mm/page_alloc.c __alloc_pages()).
_FAILED_OLD = re.compile(
    rb"__alloc_pages: (?P<order>\d{1,2})-order allocation failed(?: \(gfp=(?P<mask>0x[0-9a-f]{1,8})/\d{1,9}\))?"
)
_VMALLOC = re.compile(rb"(?P<comm>.{1,80}?): vmalloc error: size (?P<size>\d++)(?P<why>[^:]*?)(?:, " + _MASK + rb"|$)")
_VMALLOC_OLD = re.compile(
    rb"(?:(?P<comm>.{1,80}?): )?vmalloc: allocation failure[:,]? (?:allocated \d++ of )?(?P<size>\d++) bytes(?:, "
    + _MASK
    + rb")?"
)
_VMAP = re.compile(rb"vmap allocation for size (?P<size>\d++) failed")
_VMEMMAP = re.compile(rb"(?P<comm>.{1,80}?): vmemmap alloc failure: order:(?P<order>\d{1,3}),? *" + _MASK)
_STALL = re.compile(rb"(?P<comm>.{1,80}?): page allocation stalls for \d{1,12}ms, order:(?P<order>\d{1,3}),? *" + _MASK)
_ORDER = re.compile(rb"order=(?P<order>-?\d{1,3})")
_VMALLOC_ORDER = re.compile(rb"page order (?P<order>\d{1,3})")
# Each with words that every such line has: most lines are not worth the form's own search.
_HEADERS: tuple[tuple[str, bytes, re.Pattern[bytes]], ...] = (
    (KILL, b"invoked oom-killer", _INVOKED),
    (KILL, b"oom-killer: gfp_mask", _INVOKED_OLD),
    (FAILURE, b"page allocation failure", _FAILED),
    (FAILURE, b"page allocation failure", _FAILED_PIECE),
    (FAILURE, b"-order allocation failed", _FAILED_OLD),
    (VMALLOC_FAILURE, b"vmalloc error: size", _VMALLOC),
    (VMALLOC_FAILURE, b"vmalloc: allocation failure", _VMALLOC_OLD),
    (FAILURE, b"vmemmap alloc failure", _VMEMMAP),
    (FAILURE, b"page allocation stalls", _STALL),
    (VMALLOC_FAILURE, b"vmap allocation for size", _VMAP),
)
# Words of which each line that opens or begins an event has one: most lines are asked for no more.
OPENING_WORDS = tuple(dict.fromkeys(re.escape(words) for _, words, _ in _HEADERS))
_OPENING = either(*OPENING_WORDS)
_CPU_LINE = re.compile(
    rb"(?:CPU: \d{1,6} (?:UID: \d{1,10} )?)?P[Ii][Dd]: (?P<pid>\d{1,9})(?: TGID: \d{1,9})?,? "
    rb"[Cc]omm: (?P<comm>.{1,40}?) "
    rb"(?:Kdump: loaded )?(?:Not tainted|Tainted: [\[\]A-Z= ,_-]{0,400}?) {0,40}(?P<release>\d\S{2,80})"
)
_WHOLE_RELEASE = re.compile(rb"\d+\.\d+[.-]")
_FAULT = re.compile(rb"kernel BUG at |BUG: |Oops: |general protection fault|Unable to handle kernel |WARNING: CPU: ")
_CPUSET_LINE = re.compile(rb".{1,80} cpuset=(?P<cpuset>\S+) mems_allowed=(?P<allowed>[\d,-]*\d)")
_SYSRQ_KILL = re.compile(rb"[Ss]ys[Rr]q ?: ?Manual OOM execution")


def flags_of(flags: bytes | None) -> tuple[str, ...]:
    """The names of a printed mask: `GFP_KERNEL|__GFP_COMP`."""
    return tuple(printable(flag) for flag in (flags or b"").replace(b" ", b"").split(b"|") if flag)


def opens(line: LogLine) -> str | None:
    """The kind of event that a line opens, whatever stands before it; None for any other line."""
    text = line.text
    if _OPENING.search(text) is None:
        return None
    for kind, words, pattern in _HEADERS:
        if words in text and pattern.match(text) is not None:
            return kind
    if line.is_stamped and b"invoked oom-killer" in text and _INVOKED_EDITED.match(text) is not None:
        return KILL
    return None


def is_context(line: LogLine) -> bool:
    """Whether it is the line of a CPU and its task, with which the trace of any report begins."""
    return line.text[:1] in (b"C", b"P", b"p") and _CPU_LINE.match(line.text) is not None


def is_sysrq_kill(line: LogLine) -> bool:
    """Whether an administrator has just called the OOM killer (drivers/tty/sysrq.c)."""
    return _SYSRQ_KILL.match(line.text) is not None


class Header(ReportSection):
    """The first line of an event, and the second of a vmalloc failure: `asked` are the fields of model's Asked."""

    __slots__ = ("asked", "is_given")

    def __init__(self, draft: Draft) -> None:
        super().__init__(draft)
        self.asked: dict[str, object] = {}
        self.is_given = False

    def take(self, text: bytes, number: int) -> bool:
        """See ReportSection."""
        if self.is_given and "gfp_mask" not in self.asked and (piece := _MASK_PIECE.match(text)) is not None:
            self.asked |= {"gfp_mask": int(piece["mask"], 16), "gfp_flags": flags_of(piece["flags"])}
            return True
        if self.is_given and self.draft.kind != VMALLOC_FAILURE:
            return False
        for _, words, pattern in _HEADERS:
            match = pattern.match(text) if words in text else None
            if match is None:
                continue
            told = match.groupdict()
            asked: dict[str, object] = {}
            if told.get("comm"):
                asked["comm"] = printable(told["comm"].strip())
            behind = _ORDER.search(told.get("rest") or b"") or _VMALLOC_ORDER.search(told.get("why") or b"")
            if told.get("order") is not None:
                asked["order"] = int(told["order"])
            elif behind is not None:
                asked["order"] = int(behind["order"])
            if told.get("mask") is not None:
                asked["gfp_mask"] = int(told["mask"], 16)
                asked["gfp_flags"] = flags_of(told.get("flags"))
            if told.get("size") is not None:
                size_bytes = self.draft.number(told["size"], text)
                # What vm_area_alloc_pages() had got when it failed was not asked for (mm/vmalloc.c, 5.13 on).
                asked["size_bytes"] = None if b"failed to allocate pages" in text else size_bytes
            for name, value in asked.items():
                self.asked.setdefault(name, value)
            self.draft.take_nodes(text)
            self.draft.remember(text)
            self.draft.at("header", number, text)
            self.is_given = True
            return True
        if _INVOKED_EDITED.match(text) is not None:
            self.asked["comm"] = printable(text.partition(b" invoked")[0])
            self.draft.at("header", number, text)
            self.is_given = True
            return True
        return False


class Context(ReportSection):
    """The line of the CPU and its task, or that of the cpuset."""

    __slots__ = ("asked", "is_of_another", "release")

    def __init__(self, draft: Draft, asked: dict[str, object]) -> None:
        super().__init__(draft)
        self.asked = asked
        self.release: str | None = None
        self.is_of_another = False  # a fault was announced: the next line of a CPU is its own

    def take(self, text: bytes, number: int) -> bool:
        """See ReportSection."""
        if _FAULT.match(text) is not None:
            self.is_of_another = True
            return False
        match = _CPU_LINE.match(text) if text[:1] in b"CPp" else None
        if match is not None:
            if not self.is_of_another:
                self.asked.setdefault("pid", int(match["pid"]))
                self.asked.setdefault("comm", printable(match["comm"]))
            release = match["release"].rstrip(b",")
            # At the end of a line, what has no third number may be cut: `5.1` of 5.1.18.
            if match.end() < len(text.rstrip()) or _WHOLE_RELEASE.match(release) is not None:
                self.release = self.release or printable(release)
            self.draft.section = "stack"
            return True
        match = _CPUSET_LINE.match(text) if b" cpuset=" in text else None
        if match is not None and not text.startswith(b"oom-kill:"):
            self.draft.take_nodes(text)
            self.draft.at("mems_allowed", number, text)
            return True
        return False
