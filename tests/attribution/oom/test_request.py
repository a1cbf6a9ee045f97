"""What a request may do, by include/linux/gfp.h: gfp_zone() and the composites, by names and by old kernels' bits."""

from __future__ import annotations

import pytest

from oomscope.attribution.oom.request import request_facts
from oomscope.model.oom_event import OomEvent
from tests.support import corpus

# The composites of include/linux/gfp_types.h (6.12): the last zone, whether movable, whether it may reclaim itself.
BY_NAME = {
    "GFP_KERNEL": ("Normal", False, True),
    "GFP_ATOMIC": ("Normal", False, False),
    "GFP_NOWAIT": ("Normal", False, False),
    "GFP_NOFS|__GFP_NOWARN": ("Normal", False, True),
    "GFP_KERNEL|GFP_DMA": ("DMA", False, True),
    "GFP_KERNEL|GFP_DMA32": ("DMA32", False, True),
    "GFP_HIGHUSER": ("HighMem", False, True),
    "GFP_HIGHUSER_MOVABLE": ("Movable", True, True),
    "GFP_TRANSHUGE_LIGHT": ("Movable", True, False),
}
# include/linux/gfp.h of 3.10: ___GFP_WAIT 0x10, ___GFP_HIGH 0x20, ___GFP_IO 0x40, ___GFP_FS 0x80.
BY_BITS = {
    0xD0: ("Normal", False, True),  # GFP_KERNEL
    0x20: ("Normal", False, False),  # GFP_ATOMIC
    0xD1: ("DMA", False, True),
    0xD4: ("DMA32", False, True),
    0x200D2: ("HighMem", False, True),  # GFP_HIGHUSER
    0x201DA: ("Movable", True, True),  # GFP_HIGHUSER_MOVABLE | __GFP_COLD, as the page cache asks
}


def event_of(request: str, comm: str = "sh") -> OomEvent:
    (event,) = corpus.events(f"[   12.000000] {comm} invoked oom-killer: gfp_mask={request}, order=2\n".encode())
    return event


@pytest.mark.parametrize("names", BY_NAME)
def test_by_names(names: str) -> None:
    """Kernels from 4.6 on print what they were asked."""
    facts = request_facts(event_of(f"0xcc0({names})"))
    assert (facts.highest_zone, facts.is_movable, facts.may_wait) == BY_NAME[names]
    assert (facts.order, facts.pages, facts.by_order) == (2, 4, False)
    assert facts.min_eighths == (3 if names == "GFP_ATOMIC" else 8)


@pytest.mark.parametrize("mask", BY_BITS)
def test_by_bits(mask: int) -> None:
    """Before, the mask is all there is, and watermarks go down order by order."""
    facts = request_facts(event_of(f"{mask:#x}"))
    assert (facts.highest_zone, facts.is_movable, facts.may_wait) == BY_BITS[mask]
    assert facts.by_order
    assert facts.min_eighths == (3 if mask == 0x20 else 8)


def test_kswapd_waits_for_nobody() -> None:
    """It has PF_MEMALLOC, whatever its flags say."""
    facts = request_facts(event_of("0xcc0(GFP_KERNEL)", comm="kswapd0"))
    assert facts.may_wait is False
    assert "PF_MEMALLOC" in facts.why_not


def test_a_page_fault_asks_for_nothing() -> None:
    """pagefault_out_of_memory() calls with no flags at all: what was asked is not known."""
    facts = request_facts(event_of("0x0()"))
    assert (facts.highest_zone, facts.may_wait) == (None, None)
