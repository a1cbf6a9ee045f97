"""Pages per stack by page_owner's entries, a section of memory at a time (mm/page_ext.c, mm/page_owner.c, 5.4 on).

Every page of an allocation has an entry; one that was freed keeps the handle and loses PAGE_EXT_OWNER_ALLOCATED.
"""

from __future__ import annotations

import time
from array import array
from collections import Counter
from itertools import compress

from oomscope.crash_reader.errors import Unread
from oomscope.crash_reader.memory import Memory
from oomscope.crash_reader.plan import CrashPlan

_HAS_MEM_MAP, _IS_ONLINE, _INVALID = 1 << 1, 1 << 2, 1
_LARGEST_ENTRY_BYTES, _LARGEST_SECTION_BYTES = 4096, 1 << 28
_SATURATED = 0xC0000000  # REFCOUNT_SATURATED
_MOST_STACKS = 1 << 20
_ALL = (1 << 64) - 1


class PagesByStack:
    """What was counted: pages by handle, and how far the count went.

    `early_pages`, `nameless_pages` were allocated before page_owner started, or their stack could not be taken;
    `unread_pages` have no readable entry; `is_stopped` tells that time was over before the end.
    """

    def __init__(self) -> None:
        self.pages: Counter[int] = Counter()
        self.early_pages = self.nameless_pages = self.unread_pages = self.walked_pages = 0
        self.is_stopped = False


def require_page_owner(memory: Memory, plan: CrashPlan) -> None:
    """Raises Unread, with the reason, where page_owner was not running."""
    if not plan.has("page_owner_inited"):
        raise Unread("this kernel is built without page_owner (CONFIG_PAGE_OWNER)")
    if not 0 < memory.int_at(plan.at("page_owner_inited")) < 1 << 31:
        raise Unread("page_owner is off: boot with page_owner=on")
    for name in ("stack_depot_disabled", "stack_depot_disable"):  # 5.13 on, which Android's GKI sets
        if plan.has(name) and memory.bytes_at(plan.at(name), 1) == b"\1":
            raise Unread("page_owner is on and keeps no stack: boot with stack_depot_disable=off behind page_owner=on")


def count(memory: Memory, plan: CrashPlan, deadline_s: float) -> PagesByStack:
    """Walk over all entries until `deadline_s` on the monotonic clock. Raises Unread where nothing can be read."""
    require_page_owner(memory, plan)
    layout = plan.layout
    size = memory.word_at(plan.at("page_ext_size"))
    owner_at = memory.word_at(plan.at("page_owner_ops") + layout["page_ext_operations.offset"])
    handle_at = owner_at + layout["page_owner.handle"]
    is_whole = owner_at % 8 == 0 and max(owner_at + layout["page_owner"], handle_at + 4) <= size
    if not 0 < size <= _LARGEST_ENTRY_BYTES or size % 8 or not is_whole:
        raise Unread(f"page_ext is damaged: entries of {size} bytes cannot hold page_owner at {owner_at}")
    bit = plan.constants["PAGE_EXT_OWNER_ALLOCATED"]
    is_allocated = bytes(value >> (bit & 7) & 1 for value in range(256))
    found = PagesByStack()
    entries, view = array("I"), memoryview(b"")
    for pages, at in _sections(memory, plan, size):
        if time.monotonic() > deadline_s:
            found.is_stopped = True
            break
        if at is None:
            continue
        if len(view) != pages * size:
            if pages * size > _LARGEST_SECTION_BYTES:
                raise Unread("page_ext is damaged: a section is too large")
            entries = array("I", bytes(pages * size))
            view = memoryview(entries).cast("B")
        try:
            memory.into(at, view)
        except Unread:
            found.unread_pages += -(-_zero_unread(memory, at, view) // size)
        allocated = view[bit >> 3 :: size].tobytes().translate(is_allocated)
        found.pages.update(compress(entries[handle_at // 4 :: size // 4], allocated))
        found.walked_pages += pages
        if len(found.pages) > _MOST_STACKS:
            raise Unread("page_ext is damaged: more stacks than there can be")
    del found.pages[0]
    found.early_pages, found.nameless_pages = take_out_made_up(memory, plan, found.pages)
    return found


def count_by_list(memory: Memory, plan: CrashPlan) -> Counter[int]:
    """page_owner's own count per stack (6.9 on), in a moment: the stacks of stack_list. Empty where there is none."""
    layout, counted, seen = plan.layout, Counter[int](), set[int]()
    if not plan.has("stack_list") or "stack_record.count" not in layout or "stack.next" not in layout:
        return counted
    node = memory.word_at(plan.at("stack_list"))
    while node and node not in seen and len(seen) < _MOST_STACKS:
        seen.add(node)
        record, node = (memory.word_at(node + layout[member]) for member in ("stack.stack_record", "stack.next"))
        if record:
            pages = memory.int_at(record + layout["stack_record.count"])
            if 1 < pages < _SATURATED:
                counted[memory.int_at(record + layout["stack_record.handle"])] += pages - 1
    return counted


def take_out_made_up(memory: Memory, plan: CrashPlan, pages: Counter[int]) -> tuple[int, int]:
    """Early pages, and those without a stack: the stacks that page_owner itself made up hold what nobody asked for."""
    taken = {"early": 0, "dummy": 0, "failure": 0}
    for name in taken:
        if plan.has(f"{name}_handle"):
            taken[name] = pages.pop(memory.int_at(plan.at(f"{name}_handle")), 0)
    return taken["early"], taken["dummy"] + taken["failure"]


def _zero_unread(memory: Memory, at: int, view: memoryview) -> int:
    """A section of which a part is missing, read page by page; how many bytes are not there, which are zero then."""
    unread = 0
    for start in range(0, len(view), memory.page_bytes):
        part = view[start : start + memory.page_bytes]
        try:
            memory.into(at + start, part)
        except Unread:
            part[:] = bytes(len(part))
            unread += len(part)
    return unread


def _sections(memory: Memory, plan: CrashPlan, entry_bytes: int) -> list[tuple[int, int | None]]:
    """Pages of every online section, and where its page_ext begins (include/linux/mmzone.h)."""
    layout, told = plan.layout, memory.vmcoreinfo
    size = layout["mem_section"]
    pages = (1 << int(told["NUMBER(SECTION_SIZE_BITS)"])) // memory.page_bytes
    table, roots = int(told["SYMBOL(mem_section)"], 16), int(told["LENGTH(mem_section)"])
    if table == plan.at("mem_section") and plan.constants["mem_section_is_static"]:
        blocks = [(0, table, roots)]
    else:
        per_root = memory.page_bytes // size
        blocks = [(n * per_root, at, per_root) for n, at in enumerate(memory.words_at(table, roots)) if at]
    found: list[tuple[int, int | None]] = []
    for first, at, number in blocks:
        words = memory.words_at(at, number * size // 8)
        maps = words[layout["mem_section.section_mem_map"] // 8 :: size // 8]
        exts = words[layout["mem_section.page_ext"] // 8 :: size // 8]
        for index, (mem_map, ext) in enumerate(zip(maps, exts, strict=True)):
            if mem_map & _HAS_MEM_MAP and mem_map & _IS_ONLINE:
                is_there = ext and not ext & _INVALID
                found.append((pages, ext + (first + index) * pages * entry_bytes & _ALL if is_there else None))
    return found
