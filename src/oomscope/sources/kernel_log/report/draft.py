"""What all sections of one report share: numbers that are believed, the lines they stand on, what is left out."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sized
from typing import ClassVar

from oomscope import bounds
from oomscope.model.oom_event import KILL, MEMCG_KILL, SHOWN
from oomscope.text import either, printable

_FIELD = re.compile(
    rb"(?<![A-Za-z_])(?P<name>[A-Za-z_]{1,60}+(?:\([a-z]{1,20}\))?+): *+(?P<value>\d{1,25}+(?: \d{1,25}+)?) ?[kK] ?B"
)
# Remarks of other parts of the kernel that decide a class or a next step.
_REMARKS: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    ("stall", re.compile(rb": page allocation stalls for ")),
    ("pagefault", re.compile(rb"pagefault_out_of_memory|VM_FAULT_OOM leaked")),
    ("exceeds", re.compile(rb"exceeds total pages")),
    (
        "vm_struct",
        re.compile(
            rb"vm_struct allocation failed|vmalloc: allocation failure: \d|vmalloc_node_range for size \d{1,20} failed"
            rb"|vmap allocation for"
        ),
    ),
    (
        "not mapped",
        re.compile(rb"failed to map (?:pages|area)|vmalloc_node_range for size \d{1,20} failed: failed to map"),
    ),
    ("vmalloc pages", re.compile(rb"failed to allocate pages|allocated \d{1,20} of \d{1,20} bytes")),
    # What the machine is, or has loaded, that keeps pages of its own (Hardware name, Modules linked in, task names).
    ("VMware", re.compile(rb"Hardware name: VMware|\bvmw_balloon\b|\bvmtoolsd\b")),
    ("Hyper-V", re.compile(rb"\bhv_balloon\b|Hardware name: Microsoft Corporation Virtual")),
    ("virtio balloon", re.compile(rb"\bvirtio_balloon\b")),
    ("Xen balloon", re.compile(rb"\bxen_balloon\b|Hardware name: Xen ")),
    ("ZFS", re.compile(rb"\AModules linked in:.*\bzfs\b|\barc_(?:reclaim|prune|evict)\b")),
    ("GPU driver", re.compile(rb"\AModules linked in:.*\b(?:nvidia|amdgpu|i915|xe|nouveau|radeon)\b")),
)
_REMARKED = either(
    *(rb"tion stalls", rb"pagefault_out", rb"VM_FAULT", rb"exceeds", rb"vm_struct", rb"vmalloc", rb"vmap alloc"),
    *(rb"failed to", rb"allocated \d", rb"Hardware", rb"Modules", rb"balloon", rb"vmtoolsd", rb"arc_"),
)
_SURE_DIGITS = 13  # fewer than those of bounds.AMOUNT
_ALLOWED = re.compile(rb"mems_allowed=(?P<allowed>[\d,-]*\d)")
_CPUSET = re.compile(rb"cpuset=(?P<cpuset>[^\s,]{1,200})")
_NODEMASK = re.compile(rb"nodemask=(?P<nodemask>[\d,-]*\d)")


class Draft:
    """The event as far as it has been read.

    `kind` is what it turns out to be, `section` which part the last line stood in; `lines` has the number of the line
    that each name stands on, `texts` those lines.
    """

    __slots__ = (
        *("allowed", "distrusted", "is_counting", "kind", "left_out", "length", "lines", "memcg", "passed", "remarks"),
        *("section", "texts"),
    )

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.section = ""
        self.is_counting = False  # Mem-Info's counters have begun
        self.length = 0  # of the line that is read
        self.passed = 0  # lines in a row of known forms that say nothing of memory
        self.allowed: str | None = None
        self.memcg: dict[str, int | str | None] = {}
        self.remarks: dict[str, None] = {}
        self.lines: dict[str, int] = {}
        self.texts: dict[int, str] = {}
        self.distrusted: list[str] = []
        self.left_out: dict[str, int] = {}

    def at(self, name: str, number: int, text: bytes) -> None:
        """That `name` stands on this line."""
        if name not in self.lines and len(self.lines) < bounds.QUOTED_LINES:
            self.lines[name] = number
            if number not in self.texts:
                self.texts[number] = printable(text[:1000].strip())

    def number(self, digits: bytes, text: bytes) -> int | None:
        """The number, None where it cannot be an amount."""
        if len(digits) < _SURE_DIGITS and digits.isdigit():
            return int(digits)
        digits = digits.replace(b" ", b"")
        value = int(digits) if len(digits) <= 2 * bounds.DIGITS else bounds.AMOUNT
        if -bounds.AMOUNT < value < bounds.AMOUNT:
            return value
        self.distrust(text)
        return None

    def fields(self, text: bytes) -> dict[str, int]:
        """`name:123kB` of a line, in kB."""
        fields: dict[str, int] = {}
        for match in itertools.islice(_FIELD.finditer(text), bounds.EVENT_NAMES):
            value = self.number(match["value"], text)
            if value is not None:
                fields.setdefault(match["name"].decode(), value)
        return fields

    def distrust(self, text: bytes) -> None:
        """A line whose number cannot be one."""
        if self.has_room("numbers that cannot be", self.distrusted, bounds.UNKNOWN_LINES_KEPT):
            self.distrusted.append(printable(text[:200].strip()))

    def has_room(self, what: str, kept: Sized, most: int = bounds.EVENT_NAMES) -> bool:
        """Whether one more of them is kept; what is not is counted."""
        if len(kept) < most:
            return True
        self.left_out[what] = self.left_out.get(what, 0) + 1
        return False

    def remember(self, text: bytes) -> None:
        """What other parts of the kernel remark in passing."""
        for name, remark in _REMARKS if _REMARKED.search(text) is not None else ():
            if remark.search(text) is not None:
                self.remarks[name] = None

    def take_nodes(self, text: bytes) -> None:
        """Which nodes the request may use; a cpuset other than the root, or a nodemask, confines it."""
        if (allowed := _ALLOWED.search(text)) is not None:
            self.allowed = printable(allowed["allowed"])
        cpuset, nodemask = _CPUSET.search(text), _NODEMASK.search(text)
        if nodemask is not None or (cpuset is not None and cpuset["cpuset"] != b"/"):
            self.remarks["confined"] = None

    def is_of_memcg(self, path: str | None, number: int, text: bytes) -> None:
        """That a memory cgroup is what this is about."""
        if self.kind in (KILL, SHOWN):
            self.kind = MEMCG_KILL
        if path is not None:
            self.memcg.setdefault("path", path)
        self.memcg.setdefault("line", number)
        self.at("memory cgroup", number, text)


class ReportSection:
    """One part of a report: takes its own lines and passes over all others.

    `first_bytes` are those that its lines can begin with: it is asked for no others. `has_words` says that each of its
    lines has one of the words of `interest.py`: it is not asked for a line without any.
    """

    __slots__ = ("draft",)
    first_bytes: ClassVar[bytes] = bytes(range(256))
    has_words: ClassVar[bool] = False

    def __init__(self, draft: Draft) -> None:
        self.draft = draft

    def take(self, text: bytes, number: int) -> bool:
        """Whether this line, free of prefixes and of this number in the input, is one of the section's."""
        raise NotImplementedError
