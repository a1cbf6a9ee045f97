"""stack_list: the stacks that page_owner lists in show_stacks, from 6.9 on (mm/page_owner.c struct stack)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from oomscope.sources.vmcore.dump import Dump
    from oomscope.sources.vmcore.stack_depot import StackDepot

_MOST_STACKS = 1 << 20


def listed_handles(dump: Dump, depot: StackDepot) -> list[int] | None:
    """The handles in the list's order; None where this kernel has no such list, or its place is not known.

    A node is two pointers: the record and the next node. A node that names something else than a record ends the
    list, as does one that has been there already.
    """
    at = dump.symbols.address_of("stack_list")
    if at is None:
        return None
    order = np.argsort(depot.records.address)
    addresses = depot.records.address[order]
    found: list[int] = []
    seen: set[int] = set()
    node = int(dump.words_at(at, 1)[0])
    while node and node not in seen and len(found) < _MOST_STACKS:
        seen.add(node)
        record, following = dump.words_at(node, 2).tolist()
        place = int(np.searchsorted(addresses, np.uint64(record)))
        is_record = place < len(addresses) and int(addresses[place]) == record
        if record and not is_record:
            break
        if is_record:
            found.append(int(depot.records.handle[order[place]]))
        node = following
    return found
