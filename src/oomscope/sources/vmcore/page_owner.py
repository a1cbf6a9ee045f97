"""page_owner in kernel memory: one entry per page frame, read as whole arrays (mm/page_owner.c, mm/page_ext.c).

From 5.4 on every base page of an allocation has its own entry, so that counting entries is exact for partly freed
blocks too; a freed page keeps its last owner's handle and loses PAGE_EXT_OWNER_ALLOCATED. Before, only the first page
of a block has an entry, with the order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import drgn
import numpy as np
import numpy.typing as npt

from oomscope.model.unknown import Unknown
from oomscope.sources.vmcore.arrays import Bytes, Number, column

if TYPE_CHECKING:
    from oomscope.sources.vmcore.dump import Dump
    from oomscope.sources.vmcore.sections import Section

_MOST_ORDER = 30
_LATEST_NS = 1 << 58  # nine years: no kernel has run that long, a damaged time stamp may say so


@dataclass(frozen=True, slots=True)
class OwnerEntries:
    """The allocated blocks of one section, a row each, and the owner of every frame.

    `handle`, `order`, `gfp_mask`, `pages`, `pid`, `tgid`, `comm` (two words) and `allocated_ns` have one length;
    the last four are None where this kernel does not keep them. `frame` is the first page's place in the section.
    `handle_of_frame` has the section's length, 0 for a frame without owner; it is None where blocks alone have entries.
    `spoilt` entries have an order or a time that cannot be; those with such a time are not among the rows.
    """

    frame: npt.NDArray[np.int64]
    handle: npt.NDArray[np.uint32]
    order: npt.NDArray[np.int64]
    gfp_mask: npt.NDArray[np.uint32]
    pages: npt.NDArray[np.int64]
    pid: npt.NDArray[np.int32] | None
    tgid: npt.NDArray[np.int32] | None
    comm: npt.NDArray[np.uint64] | None
    allocated_ns: npt.NDArray[np.int64] | None
    handle_of_frame: npt.NDArray[np.uint32] | None
    spoilt: int


class PageOwner:
    """Where an entry keeps what. Raises LookupError, with the reason, where this kernel has no page_owner running."""

    def __init__(self, dump: Dump) -> None:
        self._dump = dump
        absent = why_absent(dump)
        if absent is not None:
            raise LookupError(absent.reason)
        prog = dump.prog
        owner = prog.type("struct page_owner")
        self.entry_size = int(prog["page_ext_size"])
        self._at = int(prog["page_owner_ops"].offset)
        self._offsets = {member.name: member.bit_offset // 8 for member in owner.members if member.name is not None}
        allocated = dump.constant("PAGE_EXT_OWNER_ALLOCATED")
        self._has_every_page = allocated is not None
        self._bit = allocated if allocated is not None else int(prog.constant("PAGE_EXT_OWNER"))
        if self._at + drgn.sizeof(owner) > self.entry_size or self.entry_size > 4096:
            raise LookupError(
                f"page_ext is damaged: entries of {self.entry_size} bytes cannot hold page_owner at {self._at}"
            )

    def entries(self, section: Section, *, ranking_only: bool = False) -> OwnerEntries | None:
        """What a section's pages are allocated for; None where it has no page_ext."""
        if section.page_ext_at is None:
            return None
        size = self.entry_size
        raw = self._dump.bytes_at(section.page_ext_at, section.pages * size).reshape(section.pages, size)
        flags = column(raw, 0, np.uint64)
        handle_of_frame = self._column(raw, "handle", np.uint32)
        allocated = (flags >> np.uint64(self._bit) & np.uint64(1)).astype(bool) & (handle_of_frame != 0)
        frames = np.flatnonzero(allocated)
        wide = self._is_wide_order()
        order = (self._column(raw, "order", np.uint32) if wide else self._column(raw, "order", np.uint16))[frames]
        order_of = order.astype(np.int64)
        impossible = order_of > _MOST_ORDER
        spoilt = int(impossible.sum())
        order_of[impossible] = 0
        blocks = np.arange(len(frames))
        pages = np.int64(1) << order_of
        if self._has_every_page:
            blocks, pages = self._blocks(section, raw, frames, handle_of_frame, order_of)
        timely = self._is_timely(raw, frames[blocks])
        spoilt += int((~timely).sum())
        blocks, pages = blocks[timely], pages[timely]
        frames = frames[blocks]
        return OwnerEntries(
            frame=frames,
            handle=handle_of_frame[frames],
            order=order_of[blocks],
            gfp_mask=self._column(raw, "gfp_mask", np.uint32)[frames],
            pages=pages,
            pid=None if ranking_only else self._optional(raw, "pid", np.int32, frames),
            tgid=None if ranking_only else self._optional(raw, "tgid", np.int32, frames),
            comm=None if ranking_only else self._comm(raw, frames),
            allocated_ns=self._optional(raw, "ts_nsec", np.int64, frames),
            handle_of_frame=np.where(allocated, handle_of_frame, np.uint32(0)) if self._has_every_page else None,
            spoilt=spoilt,
        )

    def _blocks(
        self,
        section: Section,
        raw: Bytes,
        frames: npt.NDArray[np.int64],
        handle: npt.NDArray[np.uint32],
        order: npt.NDArray[np.int64],
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Which of `frames` begins each block, and its pages: a frame is of the block before unless told apart."""
        if not len(frames):
            return frames, frames
        first = (section.start_pfn + frames) & ((np.int64(1) << order) - 1) == 0
        before = np.concatenate(([-2], frames[:-1]))
        first |= (frames != before + 1) | (np.diff(handle[frames], prepend=handle[frames[0]]) != 0)
        first[1:] |= order[1:] != order[:-1]
        if "ts_nsec" in self._offsets:
            at_ns = self._column(raw, "ts_nsec", np.int64)[frames]
            first[1:] |= at_ns[1:] != at_ns[:-1]
        starts = np.flatnonzero(first)
        return starts, np.diff(np.append(starts, len(frames)))

    def _is_timely(self, raw: Bytes, frames: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Whether each entry's time is one at which a kernel can have been running."""
        at_ns = self._optional(raw, "ts_nsec", np.uint64, frames)
        return np.ones(len(frames), np.bool_) if at_ns is None else at_ns < _LATEST_NS

    def _is_wide_order(self) -> bool:
        """Up to 5.3 the order is an unsigned int of its own."""
        return (
            self._offsets["gfp_mask"] - self._offsets["order"] >= 4
            and "last_migrate_reason" in self._offsets
            and (self._offsets["last_migrate_reason"] > self._offsets["gfp_mask"])
        )

    def _column(self, raw: Bytes, name: str, kind: type[Number]) -> npt.NDArray[Number]:
        return column(raw, self._at + self._offsets[name], kind)

    def _optional(
        self, raw: Bytes, name: str, kind: type[Number], frames: npt.NDArray[np.int64]
    ) -> npt.NDArray[Number] | None:
        return self._column(raw, name, kind)[frames] if name in self._offsets else None

    def _comm(self, raw: Bytes, frames: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64] | None:
        if "comm" not in self._offsets:
            return None
        start = self._at + self._offsets["comm"]
        return np.ascontiguousarray(raw[frames, start : start + 16]).view(np.uint64)


def why_absent(dump: Dump) -> Unknown | None:
    """Why this kernel's memory holds no page_owner data; None where it does."""
    if dump.symbols.address_of("page_owner_ops") is None and dump.symbols.address_of("page_owner_inited") is None:
        if dump.symbols.address_of("init_page_owner") is not None:
            return Unknown(
                "who allocated the pages", "page_owner's data has no symbols here (CONFIG_KALLSYMS_ALL): --vmlinux"
            )
        return Unknown("who allocated the pages", "this kernel is built without page_owner (CONFIG_PAGE_OWNER)")
    try:
        key = dump.prog["page_owner_inited"]
        is_on = int(key.key.enabled.counter) > 0
    except (LookupError, AttributeError, drgn.FaultError):
        return Unknown("who allocated the pages", "page_owner's switch cannot be read")
    if not is_on:
        return Unknown("who allocated the pages", "page_owner is off: boot with page_owner=on")
    if _keeps_no_stacks(dump):
        reason = "page_owner is on and keeps no stack: boot with stack_depot_disable=off behind page_owner=on"
        return Unknown("who allocated the pages", reason)
    return None


def _keeps_no_stacks(dump: Dump) -> bool:
    """lib/stackdepot.c: a switch by one of two names (5.13 and later), which Android's GKI sets."""
    for name in ("stack_depot_disabled", "stack_depot_disable"):
        at = dump.symbols.address_of(name)
        if at is not None and dump.bytes_at(at, 1).tobytes() == b"\1":
            return True
    return False
