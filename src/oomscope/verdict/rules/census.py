"""What the census alone says: the kernel's hidden memory where nobody recorded who took it."""

from __future__ import annotations

from oomscope.model.balance import BalanceRow
from oomscope.model.census import FREE, KERNEL, MEMMAP, PAGE_EXT, PER_CPU_LISTS, UNREAD, USES
from oomscope.model.verdict import CERTAIN, Finding
from oomscope.units import pages_text, share_text
from oomscope.verdict import advice
from oomscope.verdict.rules.case import RuleCase

_ENOUGH_TO_NAME = 0.05  # of RAM
_NOBODYS = tuple(USES[use] for use in (FREE, PER_CPU_LISTS, UNREAD, PAGE_EXT, MEMMAP))


def rule(case: RuleCase) -> tuple[Finding, ...]:
    """Claims, where page_owner did not run, the memory that no counter knows, and the greatest use that has a name."""
    latest = case.evidence.latest.reading
    if case.balance is None or latest.census is None or latest.notes.stats.records:
        return ()  # a log, /proc/vmstat and the like have a balance, too: nobody looked at a page frame there
    told = [row for row in case.balance.rows if row.kind not in _NOBODYS]
    hidden = [row for row in told if row.kind == USES[KERNEL]]
    named = [row for row in told if row.kind != USES[KERNEL]]
    both = sorted((*hidden, *named[:1]), key=lambda row: -row.pages)
    enough = [row for row in both if row.pages >= _ENOUGH_TO_NAME * case.balance.ram_pages]
    return tuple(_finding(case, row, case.balance.ram_pages) for row in enough)


def _finding(case: RuleCase, row: BalanceRow, ram_pages: int) -> Finding:
    share = share_text(row.pages / ram_pages)
    most = f"; {row.parts[0][0]} most of it: {case.size(row.parts[0][1])}" if row.parts else ""
    hidden = row.kind == USES[KERNEL]
    return Finding(
        claim=f"{case.size(row.pages)}, {share} of RAM, the kernel took and does not count"
        if hidden
        else f"{row.kind} holds {case.size(row.pages)}, {share} of RAM{most}",
        pages=row.pages,
        certainty=CERTAIN,
        because=(f"every page frame was looked at: {pages_text(ram_pages)} of RAM",),
        refuted_by="a page frame that its struct page describes wrongly: a damaged dump",
        next=advice.dump_with_owners(case.release)
        if hidden
        else f"its parts are the row {row.kind} of the balance, by name (--format json has them all)",
    )
