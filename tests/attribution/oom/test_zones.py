"""Zones held against requests, beside the kernel's own function written out step by step."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from oomscope.attribution.oom.request import request_facts
from oomscope.attribution.oom.zones import zone_checks
from oomscope.model.oom_event import FreeBlocks, OomEvent, Zone
from tests.support import corpus
from tests.support.draws import draws

ORDERS = 11


def report_of(free_pages: int, min_pages: int, blocks: list[int], order: int, request: str, reserve: int) -> OomEvent:
    header = f"[   12.000000] sh invoked oom-killer: gfp_mask={request}, order={order}\n"
    (event,) = corpus.events(header.encode())
    zone = Zone(
        node=0,
        name="Normal",
        kib={"free": free_pages * 4, "min": min_pages * 4, "high": min_pages * 8, "managed": 1 << 20},
        line=1,
        lowmem_reserve_pages=(0, 0, reserve, 0),
        blocks=tuple(FreeBlocks(count, 4 << at, None) for at, count in enumerate(blocks)),
    )
    return replace(event, zones=(zone,), page_kib=4)


def watermark_ok_3_10(free: int, mark: int, reserve: int, blocks: list[int], order: int) -> bool:
    """mm/page_alloc.c __zone_watermark_ok() of 3.10, without CMA and for GFP_KERNEL."""
    free -= (1 << order) - 1
    if free <= mark + reserve:
        return False
    for at in range(order):
        free -= blocks[at] << at
        mark >>= 1
        if free <= mark:
            return False
    return True


def watermark_ok_6_12(free: int, mark: int, reserve: int, blocks: list[int], order: int) -> bool:
    """mm/page_alloc.c __zone_watermark_ok() of 6.12, for GFP_KERNEL, without CMA and highatomic reserve."""
    free -= (1 << order) - 1
    if free <= mark + reserve:
        return False
    return order == 0 or any(blocks[at] for at in range(order, ORDERS))


@given(
    blocks=st.lists(st.integers(0, 40), min_size=ORDERS, max_size=ORDERS),
    mark=st.integers(0, 4000),
    reserve=st.sampled_from([0, 7, 900]),
    order=st.integers(0, 4),
)
@draws(200)
def test_a_zone_passes_as_the_kernel_lets_it(blocks: list[int], mark: int, reserve: int, order: int) -> None:
    """By blocks from 4.4 on: the watermark first, then any block that is large enough."""
    free = sum(count << at for at, count in enumerate(blocks))
    event = report_of(free, mark, blocks, order, "0xcc0(GFP_KERNEL)", reserve)
    (check,) = zone_checks(event, request_facts(event))
    assert check.is_allowed
    assert (bool(check.passes) and bool(check.has_block)) == watermark_ok_6_12(free, mark, reserve, blocks, order)


@given(
    blocks=st.lists(st.integers(0, 40), min_size=ORDERS, max_size=ORDERS),
    mark=st.integers(0, 4000),
    order=st.integers(0, 4),
)
@draws(200)
def test_a_zone_of_an_old_kernel_passes_order_by_order(blocks: list[int], mark: int, order: int) -> None:
    """Up to 4.3 smaller blocks are taken off, and the watermark halves with each order."""
    free = sum(count << at for at, count in enumerate(blocks))
    event = report_of(free, mark, blocks, order, "0xd0", 0)
    (check,) = zone_checks(event, request_facts(event))
    kernel = watermark_ok_3_10(free, mark, 0, blocks, order)
    if order and kernel and not any(blocks[at] for at in range(order, ORDERS)):
        return  # it let the request on, and rmqueue() found no block
    assert (bool(check.passes) and bool(check.has_block)) == kernel


def test_a_higher_zone_is_not_allowed() -> None:
    """GFP_DMA may not use Normal (include/linux/gfp.h gfp_zone())."""
    event = report_of(1000, 1, [1000] + [0] * 10, 0, "0xcc1(GFP_KERNEL|GFP_DMA)", 0)
    (check,) = zone_checks(event, request_facts(event))
    assert not check.is_allowed


def answered(release: str, asked: str, **kib: int) -> bool | None:
    """Whether one zone with these figures serves a single page, as a log of that kernel tells it."""
    text = (
        f"[    0.000000] Linux version {release} (lab@oomscope) #1\n"
        f"[    6.000000] init: page allocation failure: order:0, mode:{asked}, nodemask=(null)\n"
    )
    (event,) = corpus.events(text.encode())
    zone = Zone(node=0, name="Normal", kib=kib, line=2, lowmem_reserve_pages=(0, 0, 0, 0), blocks=None)
    event = replace(event, zones=(zone,), page_kib=4)
    return zone_checks(event, request_facts(event))[0].passes


def test_a_boost_that_is_not_printed_follows_from_the_distance_of_the_marks() -> None:
    """The lab's 5.10.262 served this atomic request; where the line is cut before `low` nothing is known."""
    marks = {"free": 22320, "min": 60372, "low": 65016, "high": 69660, "managed": 1154380}
    assert answered("5.10.262", "0xa20(GFP_ATOMIC)", **marks) is True
    del marks["low"]
    assert answered("5.10.262", "0xa20(GFP_ATOMIC)", **marks) is None
    # Up to 5.8 nobody ignores a boost.
    assert answered("5.4.100", "0xa20(GFP_ATOMIC)", **marks, low=65016) is False


def test_an_updated_6_1_lets_who_may_not_wait_into_the_highatomic_reserve() -> None:
    """The lab's 6.1.192 served this request; before 6.1.116, Debian's 6.1.0-28, what is set aside is taken off."""
    marks = {"free": 67052, "min": 60296, "low": 64940, "boost": 0, "managed": 1154380, "reserved_highatomic": 14336}
    served = {
        release: answered(release, "0x2800(GFP_NOWAIT|__GFP_NOWARN)", **marks)
        for release in ("6.1.192", "6.1.116", "6.1.115", "6.1.0-28-amd64", "6.1.0-27-amd64", "6.6.1")
    }
    assert served == {
        "6.1.192": True,
        "6.1.116": True,
        "6.1.115": False,
        "6.1.0-28-amd64": True,
        "6.1.0-27-amd64": False,
        "6.6.1": True,
    }


def test_a_half_and_a_quarter_are_rounded_as_the_kernel_rounds_them() -> None:
    """The lab's 6.12.117 refused: 15,069 pages less a half, less a quarter, are 5,652, not three eighths of them."""
    assert answered("6.12.117", "0xa20(GFP_ATOMIC)", free=5652 * 4, min=15069 * 4, boost=0, managed=1153900) is False
    assert answered("6.12.117", "0xa20(GFP_ATOMIC)", free=5653 * 4, min=15069 * 4, boost=0, managed=1153900) is True
