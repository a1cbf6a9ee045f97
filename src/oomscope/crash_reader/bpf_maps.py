"""What oomscope's own programs kept in their BPF maps: reports, and the owners of pages (kernel/bpf/arraymap.c).

The layout is bpf/owners_layout.h's. Maps are found by the kernel's own table of them, an xarray (lib/xarray.c).
"""

from __future__ import annotations

from array import array
from collections import Counter

from oomscope.crash_reader.errors import Unread
from oomscope.crash_reader.memory import Memory, u32
from oomscope.crash_reader.plan import CrashPlan

REPORTS, STATE, STACKS, PLACES, OWNERS = "oom_reports", ".data.owners", "owned_stacks", "owner_places", "page_owners"
LEFT_OUT, TABLE_FULL, NO_STACK, FIRST_SLOT = 1, 2, 3, 4
_BLOCK_BYTES = 4 << 15
_STACK_BYTES, _FRAMES, _FRAMES_AT, _COUNT_AT = 152, 16, 24, 16
_SINCE_AT, _READY_AT = 0, 48  # struct owner_state
_NODE, _DEEPEST = 2, 16  # of an xarray
_NAME_BYTES = 16  # BPF_OBJ_NAME_LEN
_MOST_BYTES, _MOST_MAPS, _MOST_ENTRIES = 1 << 24, 1 << 16, 1 << 22


class BpfMaps:
    """Array maps by their names; of several with one name those of the newest program. Empty where there is no BPF."""

    def __init__(self, memory: Memory, plan: CrashPlan) -> None:
        self._memory, self._layout = memory, plan.layout
        self._slots = plan.constants.get("XA_CHUNK_SIZE", 0)
        self._at: dict[str, list[int]] = {}
        if not plan.has("map_idr") or "bpf_array.value" not in plan.layout:
            return
        try:
            head = memory.word_at(plan.at("map_idr") + plan.layout["idr.head"])
            for at in self._entries(head, _DEEPEST):
                name = memory.text_at(at + plan.layout["bpf_map.name"], _NAME_BYTES)
                self._at.setdefault(name, []).append(at)
        except Unread:
            return  # those before it are known

    def values(self, name: str) -> list[bytes]:
        """All values of each map of that name, the oldest first; of what is too large for it, none."""
        found = []
        for at in self._at.get(name, []):
            length = self._entries_of(at) * self._value_bytes(at)
            if length <= _MOST_BYTES:
                found.append(self._memory.bytes_at(at + self._layout["bpf_array.value"], length))
        return found

    def value_bytes(self, name: str) -> int:
        """The size of one value of the newest map of that name. Raises Unread where there is none."""
        return self._value_bytes(self._newest(name))

    def values_at(self, name: str) -> int:
        """Where the values of the newest one begin. Raises Unread where there is none."""
        return self._newest(name) + self._layout["bpf_array.value"]

    def entries(self, name: str) -> int:
        """How many there are. Raises Unread where there is none, or more than there can be."""
        found = self._entries_of(self._newest(name))
        if found > _MOST_ENTRIES:
            raise Unread(f"the map {name} is damaged: {found} entries")
        return found

    def _newest(self, name: str) -> int:
        if name not in self._at:
            raise Unread(f"no map {name}")
        return self._at[name][-1]

    def _entries_of(self, at: int) -> int:
        return self._memory.int_at(at + self._layout["bpf_map.max_entries"])

    def _value_bytes(self, at: int) -> int:
        return self._memory.int_at(at + self._layout["bpf_array.elem_size"])

    def _entries(self, entry: int, depth: int) -> list[int]:
        if not entry:
            return []
        if entry & 3 != _NODE:
            return [entry]
        if not depth:
            raise Unread("the table of maps is damaged")
        node = entry - _NODE
        found: list[int] = []
        for each in self._memory.words_at(node + self._layout["xa_node.slots"], self._slots):
            found += self._entries(each, depth - 1)
            if len(found) > _MOST_MAPS:
                raise Unread("the table of maps is damaged")
        return found


class TrackedPages:
    """Pages by stack, of the table that `oomscope arm --track` keeps. Raises Unread where nothing was tracked."""

    def __init__(self, memory: Memory, maps: BpfMaps) -> None:
        state = memory.bytes_at(maps.values_at(STATE), _READY_AT + 4)
        if not u32(state, _READY_AT):
            raise Unread("tracking had not begun")
        self.since_ns = int.from_bytes(state[_SINCE_AT : _SINCE_AT + 8], "little")
        self.pages: Counter[int] = Counter()
        self._memory, self._stacks_at, self._stacks = memory, maps.values_at(STACKS), maps.entries(STACKS)
        table, places = maps.values_at(OWNERS), memory.words_at(maps.values_at(PLACES), maps.entries(PLACES))
        blocks = maps.entries(OWNERS)
        entries = array("H", bytes(_BLOCK_BYTES))
        view = memoryview(entries).cast("B")
        for place in sorted(set(places)):
            if 0 < place <= blocks:
                memory.into(table + (place - 1) * _BLOCK_BYTES, view)
                self.pages.update(entries[1::2])  # the upper half of an entry is the stack's slot, the lower the time
        del self.pages[0]
        self.left_out_pages = self.pages.pop(LEFT_OUT, 0)
        self.nameless_pages = self.pages.pop(NO_STACK, 0)
        self.lost_pages = self.pages.pop(TABLE_FULL, 0)

    def return_addresses(self, slot: int) -> tuple[int, ...] | None:
        """The frames of a slot, innermost first; None where it has none."""
        if not FIRST_SLOT <= slot < self._stacks:
            return None
        raw = self._memory.bytes_at(self._stacks_at + slot * _STACK_BYTES, _STACK_BYTES)
        count = min(u32(raw, _COUNT_AT), _FRAMES)
        return tuple(array("Q", raw[_FRAMES_AT : _FRAMES_AT + 8 * count])) or None
