"""The table of owners found in kernel memory: the BPF maps of `oomscope arm --track` (kernel/bpf/arraymap.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import drgn
import numpy as np
from drgn.helpers.linux.cpumask import for_each_possible_cpu
from drgn.helpers.linux.idr import idr_for_each
from drgn.helpers.linux.percpu import per_cpu_ptr

from oomscope.sources.log_facts import last_stamp_ns
from oomscope.sources.tracker import layout
from oomscope.sources.tracker.layout import PageOwners, Words

if TYPE_CHECKING:
    from oomscope.sources.vmcore.dump import Dump

_STATE, _STACKS, _PLACES, _OWNERS, _COUNTERS, _KEPT = (
    name.encode()
    for name in (".data.owners", "owned_stacks", "owner_places", "page_owners", "owner_counters", "slot_pages")
)
_ON_FREE = b"on_free"
_NAME_BYTES = 15  # BPF_OBJ_NAME_LEN without its end


def page_owners(dump: Dump, log: bytes) -> PageOwners | None:
    """The table of this memory; None where nothing tracks, or the maps cannot be read. `log` tells when it was read."""
    try:
        found = _maps(dump)
        state = np.frombuffer(_values(dump, found[_STATE], 1), layout.state_dtype(), count=1)[0]
        if not int(state["ready"]):
            return None
        stacks = np.frombuffer(_values(dump, found[_STACKS]), layout.stack_dtype())
        table_at = drgn.cast("unsigned long", found[_OWNERS].value.address_of_()).value_()

        def block(place: int) -> Words:
            size = layout.BLOCK_PAGES * 4
            return np.frombuffer(bytes(dump.bytes_at(table_at + place * size, size)), np.uint32)

        return PageOwners(
            since_ns=int(state["since_ns"]),
            at_ns=max(last_stamp_ns(log) or 0, int(state["since_ns"])),
            step_ns=int(state["step_ns"]),
            stacks=stacks,
            places=np.frombuffer(_values(dump, found[_PLACES]), np.uint64),
            block=block,
            counters=layout.counters(_counters(dump, found[_COUNTERS])),
            kept=np.frombuffer(_values(dump, found[_KEPT]), np.int64).reshape(-1, len(stacks)),
            missed_frees=_missed(dump, _ON_FREE),
        )
    except (LookupError, drgn.FaultError, AttributeError, ValueError, OverflowError, TypeError):
        return None


def _missed(dump: Dump, name: bytes) -> int | None:
    """How often the kernel passed over a program because it ran already (struct bpf_prog_stats); None if not told."""
    try:
        programs = [
            drgn.Object(dump.prog, dump.prog.type("struct bpf_prog"), address=entry.value_())
            for _, entry in idr_for_each(dump.prog["prog_idr"])
        ]
        counted = [
            per_cpu_ptr(program.stats, cpu).misses
            for program in programs
            if program.aux.name.string_() == name
            for cpu in for_each_possible_cpu(dump.prog)
        ]
        # u64_stats_t is local64_t on 64 bits: an atomic within two structures.
        return sum(int(each.v.a.a.counter if hasattr(each.v.a, "a") else each.v.a.counter) for each in counted)
    except (LookupError, drgn.FaultError, AttributeError, ValueError, TypeError):
        return None


def _maps(dump: Dump) -> dict[bytes, drgn.Object]:
    """Array maps by name; of several with one name, those of the newest program."""
    found = {}
    for _, entry in idr_for_each(dump.prog["map_idr"]):
        array = drgn.Object(dump.prog, dump.prog.type("struct bpf_array"), address=entry.value_())
        found[array.map.name.string_()] = array
    return found


def _values(dump: Dump, array: drgn.Object, entries: int | None = None) -> bytes:
    at = drgn.cast("unsigned long", array.value.address_of_()).value_()
    count = int(array.map.max_entries) if entries is None else entries
    return bytes(dump.bytes_at(at, count * int(array.elem_size)))


def _counters(dump: Dump, array: drgn.Object) -> bytes:
    """The one value of every processor."""
    raw = b""
    for cpu in for_each_possible_cpu(dump.prog):
        value = per_cpu_ptr(array.pptrs[0], cpu)
        raw += bytes(dump.bytes_at(value.value_(), int(array.map.value_size)))
    return raw
