"""The table of stacks in every trouble it can have: equal hashes, a slot that is being written, no room, no stack.

What happens by chance on other machines is brought about here: in the table itself, through its pinned map, and in what
the kernel keeps of the stacks that it is taking.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from oomscope.host.bpf import arm, tracker
from oomscope.host.bpf.libbpf import LibBpf
from oomscope.host.facts import Machine
from oomscope.sources.tracker.layout import OwnerCounters, stack_dtype

PINS = arm.PINS
COLLIDING, RACING, UNSEEN, WITHOUT_ROOM = 101, 103, 109, 7


def take(way: str, blocks: int) -> None:
    """Kernel memory, kept."""
    Path(f"/proc/oomlab/{way}").write_text(str(blocks))


def counters() -> OwnerCounters:
    """The programs' own."""
    return tracker.read_counters(LibBpf(), PINS)


def slot_of(way: str) -> int:
    """Take one block of a way that was never used before: the slot that its stack gets."""
    take(way, 1)
    machine, stacks = Machine(), tracker.read(LibBpf(), PINS).stacks
    (found,) = (
        slot
        for slot in np.flatnonzero(stacks["frames"]).tolist()
        if any(frame.startswith(f"take_{way}+") for frame in machine.frames(stacks["frame"][slot].tolist()))
    )
    return int(found)


def counted(act: Callable[[], None], name: str) -> int:
    """By how much a counter grows meanwhile."""
    before = getattr(counters(), name)
    act()
    return int(getattr(counters(), name)) - int(before)


def main() -> None:
    """Write what each trouble was counted as."""
    machine = Machine()
    arm.arm(machine, top=16, on_kill=False, track=tracker.plan(machine, kernel_only=False))
    stacks = tracker.map_array(LibBpf(), PINS / "owned_stacks", stack_dtype(), None, write=True)
    told = {}

    # Another stack with the same hash was there first: the frames decide.
    page, split = slot_of("page"), slot_of("split")
    stacks["frame"][split] = stacks["frame"][page]
    stacks["frames"][split] = stacks["frames"][page]
    told["collisions"] = counted(lambda: take("split", COLLIDING), "collisions")

    # Another processor has claimed the slot and is writing its frames.
    order_3 = slot_of("order_3")
    frames, stacks["frames"][order_3] = int(stacks["frames"][order_3]), 0
    told["slot_races"] = counted(lambda: take("order_3", RACING), "slot_races")
    stacks["frames"][order_3] = frames

    # The kernel takes no stack.
    told["without_stack"] = counted(lambda: take("unseen", UNSEEN), "without_stack")

    # No slot is free any more.
    free = stacks["hash"] == 0
    stacks["frame"][free, 0], stacks["frames"][free], stacks["hash"][free] = 1, 1, 1
    told["beyond_stacks"] = counted(lambda: take("order_4", WITHOUT_ROOM), "beyond_stacks")
    Path(sys.argv[1].replace("/case", "/mnt")).write_text(json.dumps(told, indent=1))


main()
