"""Return addresses by a stack depot's handle (lib/stackdepot.c)."""

from __future__ import annotations

from oomscope.crash_reader.errors import Unread
from oomscope.crash_reader.memory import Memory, u32
from oomscope.crash_reader.plan import CrashPlan

_ALIGN_BITS = 4
_DEEPEST = 256


class DepotRecords:
    """The depot of a dead kernel. Raises Unread where it has none."""

    def __init__(self, memory: Memory, plan: CrashPlan) -> None:
        self._memory, self._layout = memory, plan.layout
        index_shift, index_bits, offset_shift, offset_bits, self._first = plan.handle
        self._index_shift, self._index_mask = index_shift, (1 << index_bits) - 1
        self._offset_shift, self._offset_mask = offset_shift, (1 << offset_bits) - 1
        self._own_bits = self._index_mask << index_shift | self._offset_mask << offset_shift
        self._pools = plan.at("stack_pools" if plan.has("stack_pools") else "stack_slabs")
        if plan.has("stack_max_pools"):  # 6.17 on: a pointer to the table
            self._pools = memory.word_at(self._pools)

    def return_addresses(self, handle: int) -> tuple[int, ...] | None:
        """The frames, innermost first; None where the record is not there, or is not the handle's."""
        index = (handle >> self._index_shift & self._index_mask) - self._first
        place = (handle >> self._offset_shift & self._offset_mask) << _ALIGN_BITS
        entries_at = self._layout["stack_record.entries"]
        if index < 0:
            return None
        try:
            record = self._memory.word_at(self._pools + 8 * index) + place
            head = self._memory.bytes_at(record, entries_at)
            count = u32(head, self._layout["stack_record.size"])
            told = u32(head, self._layout["stack_record.handle"])
            if (told ^ handle) & self._own_bits or not 0 < count <= _DEEPEST:
                return None
            return tuple(self._memory.words_at(record + entries_at, count))
        except Unread:
            return None
