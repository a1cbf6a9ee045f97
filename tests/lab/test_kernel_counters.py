"""`oomscope explain` against the kernel's own counters, where no holder can list pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import oomscope
from lab import case as lab_case
from oomscope.model.holding import HUGETLB, KERNEL_STACKS, PAGE_TABLES
from tests.support.lab_cases import Case, each_of

# VmPTE counts these levels, not pgd_alloc; arm64 has pte_alloc_one inlined.
TABLES = ("pte_alloc_one", "__pte_alloc", "__pmd_alloc", "__pud_alloc")
TASKS = 997 + 1  # those that wait, and the process that made them
KERNEL_STACK_KIB = 16  # THREAD_SIZE of x86_64 and arm64


def _kib(folder: Path, field: str) -> int:
    match = re.search(rf"^{field}:\s+(\d+)", lab_case.text(folder / "meminfo"), re.MULTILINE)
    assert match is not None, field
    return int(match[1])


def _grown_kib(case: Case, field: str) -> int:
    return _kib(case.folder / "taken", field) - _kib(case.folder / "at-rest", field)


def _tasks(folder: Path, comm: str) -> list[int]:
    """VmPTE in KiB of every process of that name: the page tables that the kernel counts for it."""
    found: dict[str, dict[str, str]] = {}
    for line in lab_case.text(folder / "tasks").splitlines():
        path, field, value = line.split(":", 2)
        found.setdefault(path, {})[field] = value.strip()
    return [int(task["VmPTE"].split()[0]) for task in found.values() if task.get("Name") == comm and "VmPTE" in task]


def _pages_taken_by(comm: str, folder: Path, culprits: tuple[str, ...], kind: str) -> int:
    selection = oomscope.Selection(comms=frozenset({comm}), kinds=frozenset({kind}))
    rows = oomscope.explain(folder / "page_owner.zst", selection=selection).culprits
    return sum(row.pages for row in rows if row.culprit.function in culprits)


@pytest.mark.parametrize("case", each_of("tasks", of_tasks=True))
def test_page_tables_of_many_tasks_are_what_the_kernel_counts(case: Case) -> None:
    """The page tables of 998 processes are, to the page, the sum of their VmPTE."""
    folder = case.folder / "taken"
    counted_kib = _tasks(folder, "eat")
    assert len(counted_kib) == TASKS
    assert _pages_taken_by("eat", folder, TABLES, PAGE_TABLES) * 4 == sum(counted_kib)


@pytest.mark.parametrize("case", each_of("tasks", of_tasks=True))
def test_kernel_stacks_of_many_tasks_are_what_tasks_need(case: Case) -> None:
    """copy_process took one kernel stack for each of the 998 processes."""
    folder = case.folder / "taken"
    assert _pages_taken_by("eat", folder, ("copy_process",), KERNEL_STACKS) * 4 == TASKS * KERNEL_STACK_KIB


@pytest.mark.parametrize("case", each_of("hugetlb"))
def test_a_reserved_pool_is_huge_pages_and_nobodys_memory(case: Case) -> None:
    """101 huge pages that nobody uses are the greatest consumer, of their own kind, as many as HugePages_Total."""
    greatest = oomscope.explain(case.folder / "taken").greatest
    assert greatest is not None
    assert greatest.holding.kind == HUGETLB
    assert greatest.pages * 4 == _kib(case.folder / "taken", "HugePages_Total") * _kib(
        case.folder / "taken", "Hugepagesize"
    )


@pytest.mark.parametrize("case", each_of("tmpfs"))
def test_tmpfs_is_shared_memory_of_meminfo(case: Case) -> None:
    """What the file took is what Shmem grew by."""
    grown = _grown_kib(case, "Shmem") // 4
    pages = [
        sum(
            c.pages
            for c in oomscope.explain(case.folder / moment / "page_owner.zst").consumers
            if c.holding.stack.texts
            and any("shmem_alloc" in text for text in c.holding.stack.texts)
            and c.holding.kind == "page-cache"
        )
        for moment in ("at-rest", "taken")
    ]
    assert pages[1] - pages[0] == grown
