"""`oomscope explain` against what real kernels and the holders of memory themselves say.

A guest's holder tells which pages it holds, PFN by PFN: the module by walking what it took, user memory through
/proc/self/pagemap. page_owner's text names the PFN of every block. The two lists have to be the same; where they are
not, each page in between is named.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

import oomscope
from lab import case as lab_case
from oomscope.attribution.culprit import attribute
from oomscope.model.stack import Stack, parse_frame
from tests.support import brute_force
from tests.support.lab_cases import ACCOUNTS, WITHOUT_TIMES_AND_TASKS, HolderTruth, each

Record = Callable[[str, object], None]

IN_KERNEL = [account for account in ACCOUNTS if account.module is not None and account.has("page_owner")]
IN_PROCESSES = [account for account in ACCOUNTS if account.module is None and account.has("page_owner")]
IN_PROCESSES = [account for account in IN_PROCESSES if account.case.kernel not in WITHOUT_TIMES_AND_TASKS]

# Pages that a function brings about beside those it was asked for, by the kernel function that takes them.
BESIDE = {
    "alloc_slab_obj_exts": "the list of who allocated each object of a slab, for allocation profiling",
    "__pte_alloc_kernel": "page tables of a vmalloc area",
    "alloc_vmap_area": "the description of a vmalloc area",
    "__get_vm_area_node": "the description of a vmalloc area",
    "__kmalloc_node": "the list of a vmalloc area's pages",
}
# Bitmaps and directories that a file system reads to write a file.
FILE_SYSTEM_BLOCKS = ("__getblk_slow", "bdev_getblk", "__getblk_gfp")
GROWS_A_SLAB = ("allocate_slab", "new_slab", "alloc_slab_page")
# The stack of every page that was taken before page_owner began to record, slabs among them.
BEFORE_PAGE_OWNER = ("register_early_stack",)


@cache
def _records(folder: Path) -> list[brute_force.Seen]:
    return brute_force.records(lab_case.text(folder / "page_owner").encode())


def _pages(records: list[brute_force.Seen]) -> set[int]:
    return {record.pfn + i for record in records for i in range(record.pages)}


def _goes_through(record: brute_force.Seen, *functions: str) -> bool:
    names = {frame.partition("+")[0].removesuffix("_noprof") for frame in record.frames}
    return not names.isdisjoint(functions)


def _kind(record: brute_force.Seen) -> str:
    frames = [parse_frame(text) for text in record.frames]
    return attribute(Stack(tuple(frame for frame in frames if frame is not None))).kind


@pytest.mark.parametrize("account", each(IN_KERNEL))
def test_a_function_holds_the_pages_that_the_module_says_it_holds(
    account: HolderTruth, record_property: Record
) -> None:
    """PFN by PFN: what was allocated through the function is what the module holds, and what has another name."""
    through = [record for record in _records(account.folder) if _goes_through(record, account.function)]
    beside = [record for record in through if _goes_through(record, *BESIDE)]
    found_room = account.held - _pages(through)
    assert _pages(through) - _pages(beside) == account.held - found_room
    # Objects lie, too, in slabs that others had grown and that had room, some of them before page_owner began.
    by_others = (*GROWS_A_SLAB, *BEFORE_PAGE_OWNER)
    grown_by_others = [record for record in _records(account.folder) if _goes_through(record, *by_others)]
    assert not found_room or account.kind == "slab"
    assert found_room <= _pages(grown_by_others)

    rows = oomscope.explain(account.folder).culprits
    (row,) = (row for row in rows if row.culprit.function == account.function)
    assert (row.culprit.module, row.pages) == (account.module, len(_pages(through)))
    record_property("explained", f"{account.function} {row.pages:,}")


@pytest.mark.parametrize("account", each(IN_PROCESSES))
def test_a_process_holds_the_pages_that_its_pagemap_shows(account: HolderTruth, record_property: Record) -> None:
    """PFN by PFN: the memory of a process by its allocations is what /proc/PID/pagemap shows, asked for and its own."""
    records = [r for r in _records(account.folder) if r.comm == "eat" and _kind(r) == account.kind]
    own = account.held_by("own") if account.kind == "user" else set()
    file_system = _pages([record for record in records if _goes_through(record, *FILE_SYSTEM_BLOCKS)])
    assert account.held <= _pages(records)
    assert _pages(records) - account.held <= own | file_system

    selection = oomscope.Selection(comms=frozenset({"eat"}), kinds=frozenset({account.kind}))
    verdict = oomscope.explain(account.folder, selection=selection)
    pages = sum(consumer.pages for consumer in verdict.consumers)
    assert pages == len(_pages(records))
    record_property("explained", f"{account.kind} memory of eat {pages:,}")
