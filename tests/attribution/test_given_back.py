"""What the host took of a guest: a balloon's pages have owners and are no part of RAM."""

from __future__ import annotations

import pytest

from oomscope.attribution.balance import without_given_back
from oomscope.attribution.culprit import attribute
from oomscope.model.balance import Balance, BalanceRow
from oomscope.model.holding import BALLOON, KERNEL
from tests.attribution.test_culprit import ALLOCATOR, stack_of


@pytest.mark.parametrize(
    ("ram_pages", "kept", "unexplained_pages"),
    [
        (277, ("free", KERNEL), 7),  # the balloon's pages are out of the managed ones
        (961, ("free", KERNEL, BALLOON), 7),  # they are to be given back when memory runs out, and stay in them
    ],
)
def test_a_balloon_is_counted_where_the_kernel_counts_it(
    ram_pages: int, kept: tuple[str, ...], unexplained_pages: int
) -> None:
    """The rows fit into RAM with it, or without it; where it is left out, a note says how much."""
    rows = (BalanceRow("free", 100), BalanceRow(KERNEL, 170), BalanceRow(BALLOON, 684))
    whole = Balance(ram_pages, None, rows, ram_pages - sum(row.pages for row in rows))
    found = without_given_back(whole)
    assert tuple(row.kind for row in found.rows) == kept
    assert found.unexplained_pages == unexplained_pages
    assert bool(found.notes) == (BALLOON not in kept)


@pytest.mark.parametrize("driver", ["update_balloon_size_func", "vmballoon_inflate", "alloc_balloon_pages"])
def test_the_driver_of_a_balloon_holds_a_balloon(driver: str) -> None:
    """By the stack alone, whatever the hypervisor."""
    attributed = attribute(stack_of(*ALLOCATOR, driver, "process_one_work", "worker_thread"))
    assert (attributed.kind, str(attributed.culprit)) == (BALLOON, driver)
