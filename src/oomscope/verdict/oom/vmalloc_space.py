"""vmalloc-space: no range of kernel addresses was free; RAM is another matter."""

from __future__ import annotations

from oomscope.model.oom_event import VMALLOC_FAILURE
from oomscope.model.verdict import CERTAIN, LIKELY, Finding
from oomscope.units import bytes_text
from oomscope.verdict.oom.case import VMALLOC_SPACE, Cause, OomCase

_SMALL_BYTES = 1 << 20  # any machine has more RAM


def rule(case: OomCase) -> Cause | None:
    """Claims it where vmalloc failed for want of addresses, not of pages, and not because the request is absurd."""
    event = case.event
    if event.kind != VMALLOC_FAILURE or case.is_larger_than_ram or "vmalloc pages" in event.remarks:
        return None
    if event.asked.size_bytes == 0 or "not mapped" in event.remarks:
        return None  # see no-shortage
    # Up to 5.12 __vmalloc_node_range() says `allocation failure: N bytes` where it got no area, and where N is more
    # than all of RAM; `allocation failure, allocated N of M bytes` is of pages.
    says_so = "vm_struct" in event.remarks
    is_known_to_fit = (
        case.accounting.ram_pages is not None or (event.asked.size_bytes or _SMALL_BYTES + 1) <= _SMALL_BYTES
    )
    free = case.accounting.pages("free")
    has_memory = case.share(free) >= 0.05
    if not says_so and not has_memory:
        return None
    size = "" if event.asked.size_bytes is None else f" {bytes_text(event.asked.size_bytes)}"
    beside = f" while {case.share_words(free)} was free" if free else ""
    return Cause(
        VMALLOC_SPACE,
        Finding(
            claim=f"no range of kernel addresses was left for{size} of vmalloc{case.caller}{beside}{_device(case)}",
            pages=None,
            certainty=CERTAIN if says_so and is_known_to_fit else LIKELY,
            because=case.evidence("header", "free"),
            refuted_by="a VmallocUsed in /proc/meminfo far below VmallocTotal, with large gaps in /proc/vmallocinfo",
            next="rank who holds addresses: sort -k2 -n /proc/vmallocinfo; 32-bit: vmalloc=SIZE on the command line",
        ),
    )


def _device(case: OomCase) -> str:
    """The driver that says next that it did not get its mapping."""
    told = case.event.texts.get(case.event.lines.get("ioremap", 0), "")
    return f"; {told}" if told else ""
