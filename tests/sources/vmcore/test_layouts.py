"""Every layout of page_owner in memory, over a few bytes each: which kernel keeps what where (docs/formats)."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.support.mock_kernel import HANDLES, OWNERS, MockKernel, counted, stack_of, total


def named(*functions: int) -> tuple[str, ...]:
    return tuple(f"function_{n}+0x10/0x100" for n in functions)


def kernel_with_two_stacks(**variant: object) -> MockKernel:
    """Section 0: 5 pages of one stack, 8 of another as one block; one page freed since, and one never used."""
    kernel = MockKernel(stacks=[stack_of(1, 2, 3), stack_of(4, 2, 3)], **variant)  # type: ignore[arg-type]
    entries = kernel.entries(kernel.section_pages)
    for frame in range(5):
        kernel.own(entries, slice(frame, frame + 1), handle=kernel.handle(0), order=0, ts_nsec=1000 + frame, pid=7)
    frames = slice(8, 9) if kernel.owner == "4.14" else slice(8, 16)
    kernel.own(entries, frames, handle=kernel.handle(1), order=3, ts_nsec=5000, pid=8)
    kernel.own(entries, slice(20, 21), handle=kernel.handle(0), order=0, allocated=0)
    kernel.sections[0] = entries
    return kernel


EXPECTED: dict[Iterable[str], int] = {named(1, 2, 3): 5, named(4, 2, 3): 8}


@pytest.mark.parametrize("owner", OWNERS)
@pytest.mark.parametrize("handles", ["5.10", "6.1", "6.3", "6.12"])
def test_every_form_of_page_owner_and_of_handles(owner: str, handles: str) -> None:
    """Entries are counted one by one from 5.4 on, by the head's order before; freed pages' stale handles are not."""
    assert total(kernel_with_two_stacks(owner=owner, handles=handles)) == EXPECTED


@pytest.mark.parametrize("model", ["sparse", "static", "flat"])
def test_every_memory_model(model: str) -> None:
    """Sparsemem with roots, with a static table, and flatmem give the same."""
    assert total(kernel_with_two_stacks(memory_model=model)) == EXPECTED


def test_pages_of_64_kib() -> None:
    """A larger page changes a section's pages and the depot's pools, not the count."""
    assert "64k" in HANDLES
    assert total(kernel_with_two_stacks(page_shift=16, handles="64k")) == EXPECTED


def test_a_table_of_pools_that_is_allocated() -> None:
    """From 6.17 on stack_pools is a pointer."""
    assert total(kernel_with_two_stacks(pools_are_allocated=True)) == EXPECTED


def test_holes_offline_sections_and_sections_without_page_ext() -> None:
    """Section 1 is a hole, 2 went offline, 3 has no page_ext, 5 counts; nothing is counted twice."""
    kernel = kernel_with_two_stacks()
    more = kernel.entries(kernel.section_pages)
    kernel.own(more, slice(0, 64), handle=kernel.handle(1), order=0, ts_nsec=1)
    kernel.sections |= {2: more, 3: None, 5: more}
    kernel.offline = {2}
    assert total(kernel) == {named(1, 2, 3): 5, named(4, 2, 3): 8 + 64}


def test_a_block_freed_in_part_counts_what_is_left() -> None:
    """Of a block of eight, three pages were given back: five entries remain, whatever order they say."""
    kernel = MockKernel(stacks=[stack_of(1)])
    entries = kernel.entries(kernel.section_pages)
    kernel.own(entries, slice(8, 16), handle=kernel.handle(0), order=3, ts_nsec=1)
    kernel.own(entries, slice(13, 16), handle=kernel.handle(0), order=3, allocated=0)
    kernel.sections[0] = entries
    assert total(kernel) == {named(1): 5}


def test_a_block_larger_than_any_list_of_the_buddy_allocator() -> None:
    """A gigantic page has order 18: its entries count like others."""
    kernel = MockKernel(stacks=[stack_of(1)])
    for number in (0, 1):
        entries = kernel.entries(kernel.section_pages)
        kernel.own(entries, slice(0, 64), handle=kernel.handle(0), order=18, ts_nsec=1)
        kernel.sections[number] = entries
    assert total(kernel) == {named(1): 128}


def test_extra_bits_of_a_handle_are_no_part_of_it() -> None:
    """KMSAN keeps bits above the index and the offset: the record is found without them."""
    kernel = MockKernel(stacks=[stack_of(1)])
    entries = kernel.entries(kernel.section_pages)
    kernel.own(entries, slice(0, 3), handle=kernel.handle(0) | 1 << 31, order=0, ts_nsec=1)
    kernel.sections[0] = entries
    assert total(kernel) == {named(1): 3}


@pytest.mark.parametrize("at_ns", [1 << 63, (1 << 64) - 1, 1 << 59])
def test_a_time_at_which_no_kernel_can_run_makes_an_entry_spoilt(at_ns: int) -> None:
    """Such an entry is counted as too damaged to count, and costs nobody else's pages."""
    kernel = kernel_with_two_stacks()
    entries = kernel.sections[0]
    assert entries is not None
    kernel.own(entries, slice(3, 4), handle=kernel.handle(0), order=0, ts_nsec=at_ns, pid=7)
    tally, notes = counted(kernel)
    assert tally == {named(1, 2, 3): 4, named(4, 2, 3): 8}
    assert notes.stats.corrupt_records == 1
