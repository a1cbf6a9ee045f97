"""The kernel's linear map of all memory: how far a frame's address there is from its physical one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drgn.helpers.linux.mm import follow_phys

if TYPE_CHECKING:
    from oomscope.sources.vmcore.dump import Dump


def linear_offset(dump: Dump) -> int:
    """What to add to a physical address, found from an object that was certainly allocated: the first slab cache.

    Raises LookupError or drgn.FaultError where it cannot be found.
    """
    address = dump.prog["slab_caches"].next.value_()
    return int(address - follow_phys(dump.prog["init_mm"].address_of_(), address))
