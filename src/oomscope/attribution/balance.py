"""Every page of RAM in one row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from oomscope.attribution.side_accounts import SideAccounts
from oomscope.model import oom_analysis as rows
from oomscope.model.balance import Balance, BalanceRow
from oomscope.model.census import OFFLINE, USES
from oomscope.model.holding import BALLOON, KERNEL, KERNEL_STACKS, KINDS, LARGE_KMALLOC, PAGE_TABLES, SLAB, Holding
from oomscope.model.oom_analysis import Accounting, OomAnalysis
from oomscope.units import AT_ONE_MOMENT, pages_text

_PARTS = 10
# Kernel memory outside slab that an OOM report does count.
_COUNTED_KERNEL = (rows.PAGE_TABLES, rows.SECOND_TABLES, rows.KERNEL_STACKS, rows.MISC, rows.BOUNCE, rows.ZSPAGES)
_VMALLOC = "__vmalloc_"  # __vmalloc_node_range(), __vmalloc_area_node()


def balance(held: Iterable[Holding], *, ram_pages: int, free_pages: int) -> Balance:
    """Free pages, holdings by kind, and what neither explains.

    The remainder is what page_owner never sees: per-cpu lists, pages given back behind its back, and the time between
    the readings.
    """
    pages = dict.fromkeys(KINDS, 0)
    for holding in held:
        pages[holding.kind] += holding.pages or 0
    counted = [BalanceRow("free", free_pages)]
    counted += [BalanceRow(kind, count) for kind, count in pages.items() if count]
    return without_given_back(Balance(ram_pages, None, tuple(counted), ram_pages - sum(row.pages for row in counted)))


def without_given_back(balance: Balance) -> Balance:
    """The balance without what the host took, where the kernel does not count that as RAM any more.

    A balloon takes its pages out of the managed ones (adjust_managed_page_count()), but for virtio's, where it is to be
    given back when memory runs out (VIRTIO_BALLOON_F_DEFLATE_ON_OOM): then the rows fit as they are.
    """
    given_back = [row for row in balance.rows if row.kind in (BALLOON, USES[OFFLINE])]
    pages = sum(row.pages for row in given_back)
    if not pages or abs(balance.unexplained_pages + pages) >= abs(balance.unexplained_pages):
        return balance
    return replace(
        balance,
        rows=tuple(row for row in balance.rows if row not in given_back),
        unexplained_pages=balance.unexplained_pages + pages,
        notes=(*balance.notes, f"{pages_text(pages)} are with the host, or offline: no part of RAM"),
    )


def through_vmalloc(held: Iterable[Holding]) -> int:
    """Pages of kernel memory whose stack passes through vmalloc (mm/vmalloc.c)."""
    return sum(
        holding.pages or 0
        for holding in held
        if holding.kind == KERNEL and any(_VMALLOC in frame.symbol for frame in holding.stack.frames)
    )


@dataclass(frozen=True, slots=True)
class KindSplit:
    """One kind of memory by culprit: all its pages, and the greatest culprits with theirs."""

    pages: int
    parts: tuple[tuple[str, int], ...]


def split(held: Iterable[Holding], *kinds: str) -> KindSplit:
    """The holdings of some kinds, rolled up to their culprits, the greatest first."""
    pages: dict[str, int] = {}
    for holding in held:
        if holding.kind in kinds and holding.pages:
            name = str(holding.culprit) if holding.culprit is not None else "no culprit"
            pages[name] = pages.get(name, 0) + holding.pages
    ranked = sorted(pages.items(), key=lambda part: -part[1])
    return KindSplit(sum(pages.values()), tuple(ranked[:_PARTS]))


def report_balance(analysis: OomAnalysis, held: list[Holding], accounts: SideAccounts) -> Balance | None:
    """The OOM report's own balance; slab and the remainder split by culprit as far as other evidence tells.

    None where the report does not tell RAM, or not all that takes a part of it.
    """
    accounting = analysis.accounting
    if accounting.ram_pages is None or accounting.unexplained_pages is None:
        return None
    notes = [f"{kind}: {reason}" for kind, reason in accounting.bounds]
    notes += accounting.problems
    slab, kernel = split(held, SLAB, LARGE_KMALLOC), split(held, KERNEL)
    tables_and_stacks = split(held, PAGE_TABLES, KERNEL_STACKS)
    slab_pages = accounting.pages(rows.SLAB, rows.SLAB_RECLAIMABLE, rows.SLAB_UNRECLAIMABLE)
    beside = _fitting(accounts.parts_of_slab(), slab_pages, "slab caches", notes)
    of_slab = slab.parts or beside or _caches(analysis)
    of_rest = _fitting(
        accounts.parts_of_the_rest(analysis.page_bytes), accounting.unexplained_pages, "what is unexplained", notes
    )
    shown = tuple(
        replace(row, parts=of_slab) if row.kind == rows.SLAB_UNRECLAIMABLE else row for row in accounting.rows
    )
    if kernel.pages:
        notes.append(_beside(accounting, kernel.pages + tables_and_stacks.pages))
    return Balance(
        ram_pages=accounting.ram_pages,
        reserved_pages=accounting.reserved_pages,
        rows=shown,
        unexplained_pages=accounting.unexplained_pages,
        unexplained_parts=kernel.parts or of_rest,
        notes=tuple(notes),
    )


def _fitting(
    parts: tuple[tuple[str, int], ...], whole_pages: int, whole: str, notes: list[str]
) -> tuple[tuple[str, int], ...]:
    """Parts that another file tells; none, and a note, where one is larger than its whole: it is of another moment."""
    if not parts or parts[0][1] <= AT_ONE_MOMENT * whole_pages:
        return parts
    name, pages = parts[0]
    notes.append(
        f"{name} has {pages:,} pages in the file beside the log, {whole} {whole_pages:,} in the report: the file is of "
        "another moment, or another machine, and names nothing here"
    )
    return ()


def _caches(analysis: OomAnalysis) -> tuple[tuple[str, int], ...]:
    """The report's own table of unreclaimable caches, in pages."""
    ranked = sorted(analysis.event.slab_caches, key=lambda cache: -cache.total_kib)
    page_kib = analysis.event.page_kib or 4
    return tuple((cache.name, cache.total_kib // page_kib) for cache in ranked[:_PARTS])


def _beside(accounting: Accounting, stacks_pages: int) -> str:
    """What allocation stacks and the report say of the same memory."""
    counted = accounting.pages(*_COUNTED_KERNEL)
    left = (accounting.unexplained_pages or 0) + counted
    says = (
        f"allocation stacks count {pages_text(stacks_pages)} of kernel memory outside slab; the report leaves "
        f"{left:,} for it, {counted:,} of them page tables, kernel stacks and the like"
    )
    if stacks_pages == left:
        return says
    if stacks_pages < left:
        between = "memory from before page_owner started, and what changed between the two readings"
    else:
        between = "memory that the report counts as something else, and what changed between the two readings"
    return f"{says}; the {abs(left - stacks_pages):,} between them: {between}"
