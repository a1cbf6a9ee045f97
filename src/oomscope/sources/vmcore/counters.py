"""The kernel's own counters at the moment of the dump: what /proc/vmstat would have shown (mm/vmstat.c).

The global sums lag behind by what each CPU has not folded into them yet; those differences are added here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import drgn
import numpy as np

from oomscope.model.unknown import Unknown
from oomscope.sources.vmcore.sections import nodes

if TYPE_CHECKING:
    from oomscope.sources.vmcore.dump import Dump

_MOST_CPUS = 8192
_MOST_ZONES = 8
ADDRESSES = (1 << 64) - 1  # a CPU's offset may lead around the end of the address space


def vmstat(dump: Dump) -> Mapping[str, int]:
    """Counters by the names of enum zone_stat_item and enum node_stat_item; pages, but for those that count else."""
    found = _sums(dump, "vm_zone_stat", "enum zone_stat_item", "NR_VM_ZONE_STAT_ITEMS")
    found |= _sums(dump, "vm_node_stat", "enum node_stat_item", "NR_VM_NODE_STAT_ITEMS")
    vmalloc_pages = dump.number("nr_vmalloc_pages")  # an item of the nodes from 7.1 on
    if vmalloc_pages is not None:
        found["nr_vmalloc_pages"] = vmalloc_pages
    return found


def _sums(dump: Dump, array: str, enum: str, end: str) -> dict[str, int]:
    try:
        items = dump.prog.type(enum)
        at = dump.prog[array].address_
        count = int(dump.prog.constant(end))
    except LookupError:
        return {}
    assert at is not None
    sums = dump.words_at(at, count).view(np.int64).copy()
    differences = _differences(dump, array)
    for cpu_offset in cpu_offsets(dump):
        for base, diffs_at in differences:
            # s8 each, one per item, in the CPU's own copy.
            sums += dump.bytes_at((base + cpu_offset + diffs_at) & ADDRESSES, count).view(np.int8)
    names = {e.value: e.name for e in items.enumerators or () if e.value < count}
    return {names[i]: int(value) for i, value in enumerate(sums.tolist()) if i in names}


def cpu_offsets(dump: Dump) -> list[int]:
    """What leads from a per-CPU variable to each possible CPU's copy."""
    count = min(dump.number("nr_cpu_ids") or 1, _MOST_CPUS)
    try:
        at = dump.prog["__per_cpu_offset"].address_
    except LookupError:
        return [0]
    assert at is not None
    return list(dump.words_at(at, count).tolist())


def zones(dump: Dump) -> list[tuple[int, int, drgn.Object]]:
    """(node, number, struct zone) of every zone that has memory. A node that cannot be read is left out, and said."""
    found = []
    try:
        for node in nodes(dump):
            for number in range(min(int(node.nr_zones), _MOST_ZONES)):
                zone = node.node_zones[number]
                if int(zone.present_pages):
                    found.append((int(node.node_id), number, zone))
    except drgn.FaultError as error:
        dump.damage.append(Unknown("zones of memory and their counters", f"a node cannot be read: {error}"))
    return found


def _differences(dump: Dump, array: str) -> list[tuple[int, int]]:
    """(per-CPU base, offset of the differences) for every zone or node."""
    if array == "vm_node_stat":
        at = dump.offset("struct per_cpu_nodestat", "vm_node_stat_diff")
        try:
            bases = [node.per_cpu_nodestats.value_() for node in nodes(dump)]
        except drgn.FaultError:
            bases = []  # zones() says so
        return [] if at is None else [(base, at) for base in bases if base]
    at = dump.offset("struct per_cpu_zonestat", "vm_stat_diff")
    if at is not None:
        return [(zone.per_cpu_zonestats.value_(), at) for _, _, zone in zones(dump)]
    at = dump.offset("struct per_cpu_pageset", "vm_stat_diff")
    return [] if at is None else [(zone.pageset.value_(), at) for _, _, zone in zones(dump)]
