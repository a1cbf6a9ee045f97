"""What the program on the OOM path keeps of a report: the layout of bpf/panic_report.h, decoded."""

from __future__ import annotations

import struct
from dataclasses import dataclass

MAP_NAME = "oom_reports"
PANIC, KILL = 1, 2
STACK_LIST, PAGES, OWNERS = 1, 2, 3
REPORTS, CONSUMERS, FRAMES = 4, 16, 64
CULPRITS = 3
_MAGIC = 0x32706F63736D6F6F
_HEAD = struct.Struct("<QIIQQQQQQQQQQQQQQQIIII")
_CONSUMER = struct.Struct(f"<QII{FRAMES}QQ")
_CULPRIT = struct.Struct("<QQQQ")
_TAIL = struct.Struct("<QQQ")
_CULPRITS_AT = _HEAD.size + CONSUMERS * _CONSUMER.size
_TAIL_AT = _CULPRITS_AT + CULPRITS * _CULPRIT.size
REPORT_BYTES = _TAIL_AT + _TAIL.size


@dataclass(frozen=True, slots=True)
class ReportedStack:
    """One of the greatest: `frames` are return addresses, innermost first, none where the stack could not be read.

    Where a part of the pages was looked at, `pages` are right within `bound_pages` in 95 of 100; else that is 0.
    """

    pages: int
    handle: int
    frames: tuple[int, ...]
    bound_pages: int


@dataclass(frozen=True, slots=True)
class ReportedCulprit:
    """One of those that answer for most, over all of its stacks; `frame` is one of its return addresses."""

    pages: int
    stacks: int
    frame: int
    bound_pages: int


@dataclass(frozen=True, slots=True)
class PanicReport:
    """One report. `at_ns` is CLOCK_MONOTONIC; pages are base pages; `pages` are those that the `stacks` hold.

    One page of `stride` was looked at. Where pages were tracked, `since_ns`, `older_pages` were allocated before that
    and `left_out_pages` are the user's; the owners of `plugged_pages`, RAM that came since, are not kept, and
    `taken_pages` of RAM went since, into a balloon. Culprits of
    `nameless_culprit_pages` are not counted; `later_pages` are of modules loaded since it was armed.
    """

    cause: int
    way: int
    at_ns: int
    took_ns: int
    stacks: int
    pages: int
    ram_pages: int
    walked_pages: int
    early_pages: int
    nameless_pages: int
    lost_pages: int
    unread_pages: int
    older_pages: int
    left_out_pages: int
    plugged_pages: int
    taken_pages: int
    since_ns: int
    unread_stacks: int
    stopped: bool
    stride: int
    consumers: tuple[ReportedStack, ...]
    culprits: tuple[ReportedCulprit, ...]
    later_pages: int
    nameless_culprit_pages: int
    naming_ns: int

    @property
    def is_surely_greatest(self) -> bool:
        """Whether no other culprit can be greater: whatever was not counted may be the second one's."""
        if not self.culprits:
            return False
        first, *others = self.culprits
        second_pages = sum((others[0].pages, others[0].bound_pages)) if others else 0
        lost_pages = self.nameless_culprit_pages + self.lost_pages + self.unread_pages
        return first.pages > second_pages + first.bound_pages + lost_pages

    @property
    def uncounted_pages(self) -> int:
        """Pages that were seen, or should have been, and stand with no stack."""
        seen = self.early_pages + self.nameless_pages + self.lost_pages + self.unread_pages
        return seen + self.older_pages + self.left_out_pages


def decode(raw: bytes) -> PanicReport | None:
    """The report in one value of the map; None where there is none, or it was not finished."""
    if len(raw) < REPORT_BYTES:
        return None
    head = _HEAD.unpack_from(raw)
    magic, cause, way, at_ns, took_ns, stacks, pages, ram_pages, walked_pages = head[:9]
    early_pages, nameless_pages, lost_pages, unread_pages, older_pages, left_out_pages = head[9:15]
    plugged_pages, taken_pages, since_ns, unread_stacks, stopped, count, stride = head[15:]
    if magic != _MAGIC:
        return None
    kept = []
    for index in range(min(count, CONSUMERS)):
        held, handle, frames, *addresses, bound_pages = _CONSUMER.unpack_from(raw, _HEAD.size + index * _CONSUMER.size)
        kept.append(ReportedStack(held, handle, tuple(addresses[: min(frames, FRAMES)]), bound_pages))
    named = [ReportedCulprit(*_CULPRIT.unpack_from(raw, _CULPRITS_AT + i * _CULPRIT.size)) for i in range(CULPRITS)]
    later_pages, nameless_culprit_pages, naming_ns = _TAIL.unpack_from(raw, _TAIL_AT)
    return PanicReport(
        cause=cause,
        way=way,
        at_ns=at_ns,
        took_ns=took_ns,
        stacks=stacks,
        pages=pages,
        ram_pages=ram_pages,
        walked_pages=walked_pages,
        early_pages=early_pages,
        nameless_pages=nameless_pages,
        lost_pages=lost_pages,
        unread_pages=unread_pages,
        older_pages=older_pages,
        left_out_pages=left_out_pages,
        plugged_pages=plugged_pages,
        taken_pages=taken_pages,
        since_ns=since_ns,
        unread_stacks=unread_stacks,
        stopped=bool(stopped),
        stride=stride,
        consumers=tuple(kept),
        culprits=tuple(culprit for culprit in named if culprit.pages),
        later_pages=later_pages,
        nameless_culprit_pages=nameless_culprit_pages,
        naming_ns=naming_ns,
    )
