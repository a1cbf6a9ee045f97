"""What the kernel's own accounts say of who holds memory: the largest row of the balance, the largest of each file."""

from __future__ import annotations

from oomscope.model.account import (
    BYTES,
    CALL_SITE,
    DMA_BUFFER,
    MODULE,
    PER_CPU,
    SLAB_CACHE,
    UNREFERENCED,
    VMALLOC_CALLER,
    ZRAM_DISK,
    Account,
    Entry,
)
from oomscope.model.balance import Balance
from oomscope.model.oom_analysis import FREE
from oomscope.model.unknown import Unknown
from oomscope.model.verdict import CERTAIN, LIKELY, POSSIBLE, Finding
from oomscope.units import AT_ONE_MOMENT, bytes_text, counted, pages_text, share_text
from oomscope.verdict.rules.case import RuleCase

_WORTH_NAMING = 0.05  # of RAM
# What is told beside stacks or a report, too: the accounts stand in its balance already.
_OBJECT_LEVEL = (UNREFERENCED, DMA_BUFFER, ZRAM_DISK)
_CLAIMS = {
    SLAB_CACHE: "{name} is the largest slab cache: {amount}, {count} objects in use",
    UNREFERENCED: "{name} allocated most of what nothing points to any more: {amount} in {count} objects",
    CALL_SITE: "{name} is the call site that holds most: {amount} in {count} calls",
    VMALLOC_CALLER: "{name} mapped most with vmalloc: {amount} in {count} areas",
    DMA_BUFFER: "{name} exported most of the memory that devices share: {amount} in {count} buffers",
    ZRAM_DISK: "{name} takes {amount} for what it has compressed ({place})",
    PER_CPU: "{name} of per-cpu memory take {amount} for each CPU",
    MODULE: "{name} is the largest module: {amount} of code and data",
}
_NEXT = {
    SLAB_CACHE: "boot with slub_debug=U,{name} and read /sys/kernel/debug/slab/{name}/alloc_traces: who allocated them",
    UNREFERENCED: "read the error paths of {name}: what it allocates there is never freed",
    CALL_SITE: "read {name} {place}: who calls it, and who should free what it returns",
    VMALLOC_CALLER: "find who should vfree() what {name} maps",
    DMA_BUFFER: "lsof /dmabuf: and /proc/*/fdinfo tell which processes keep the buffers",
    ZRAM_DISK: "it is swap or a file system in memory: its users decide what it holds",
    PER_CPU: "allocation profiling (sysctl.vm.mem_profiling=1) names who allocates it",
    MODULE: "what a module allocates is counted elsewhere: /proc/allocinfo, page_owner",
}


def rule(case: RuleCase) -> tuple[Finding, ...]:
    """Claims the largest row of the balance and of each file, where neither stacks nor a report tell more."""
    accounts = case.facts.accounts
    alone = case.is_of_accounts
    found: list[Finding] = []
    if alone and case.balance is not None:
        found += _of_balance(case.balance)
    for told in accounts.accounts:
        if alone or (told.kind in _OBJECT_LEVEL and _is_large(told, case)):
            found.append(_of_file(told, told.entries[0], case))
    return tuple(found)


def _of_balance(balance: Balance) -> list[Finding]:
    held = [row for row in balance.rows if row.kind != FREE]
    if not held:
        return [_unexplained(balance)] if balance.unexplained_pages > 0 else []
    largest = max(held, key=lambda row: row.pages)
    found = []
    if balance.unexplained_pages > largest.pages:
        found.append(_unexplained(balance))
    named = f", most of it {largest.parts[0][0]}" if largest.parts else ""
    found.append(
        Finding(
            claim=f"{largest.kind} holds {pages_text(largest.pages)}, {_share(largest.pages, balance)} of RAM{named}",
            pages=largest.pages,
            certainty=_certainty(balance),
            because=(f"the kernel counts it: {largest.source}",),
            refuted_by="nothing: it is the kernel's own counter",
            next="oomscope diff of two readings shows what grows",
        )
    )
    if largest.pages >= balance.unexplained_pages > _WORTH_NAMING * balance.ram_pages:
        found.append(_unexplained(balance))
    return found


def _unexplained(balance: Balance) -> Finding:
    pages = balance.unexplained_pages
    if balance.missing:
        return Finding(
            claim=f"{pages_text(pages)}, {_share(pages, balance)} of RAM, are in what was not given: "
            f"{', '.join(balance.missing)}",
            pages=pages,
            certainty=POSSIBLE,
            because=("these rows stand in every /proc/meminfo",),
            refuted_by="the whole file",
            next="give the whole /proc/meminfo: what was pasted is a part of it",
        )
    named = next(((name, part) for name, part in balance.unexplained_parts if part > pages / 2), None)
    most = "" if named is None else f"; {named[0]} took {pages_text(named[1])} of them"
    return Finding(
        claim=f"{pages_text(pages)}, {_share(pages, balance)} of RAM, are in no counter{most}",
        pages=pages,
        certainty=_certainty(balance),
        because=("MemTotal less every counter of the kernel: drivers' pages and vmalloc are in none of them",),
        refuted_by="readings of several moments: their sum is of none of them",
        next="boot with page_owner=on, or read /proc/allocinfo and /proc/vmallocinfo: they name who takes such pages"
        if named is None
        else f"find who should give back what {named[0]} takes",
    )


def _certainty(balance: Balance) -> str:
    """The kernel's counters are certain as long as no row has more than all of RAM: then one of them is damaged."""
    fits = all(row.pages <= AT_ONE_MOMENT * balance.ram_pages for row in balance.rows)
    return CERTAIN if fits and not balance.missing else POSSIBLE


def _of_file(told: Account, entry: Entry, case: RuleCase) -> Finding:
    amount = _amount(told, entry)
    texts = {"name": str(entry), "amount": amount, "count": f"{entry.count:,}", "place": entry.place}
    return Finding(
        claim=_CLAIMS[told.kind].format(**texts),
        pages=_pages(told, entry, case),
        certainty=LIKELY if told.kind == UNREFERENCED else CERTAIN,
        because=(f"its file has {counted(len(told.entries), 'row')}, {_amount(told, told)} in all",),
        refuted_by="kmemleak is wrong where a pointer is kept in a form that it does not see"
        if told.kind == UNREFERENCED
        else "another reading: the file is of one moment",
        next=_NEXT[told.kind].format(**texts),
    )


def _is_large(told: Account, case: RuleCase) -> bool:
    pages, ram_pages = _pages(told, told, case), case.evidence.ram_pages
    return pages is not None and not isinstance(ram_pages, Unknown) and pages >= _WORTH_NAMING * ram_pages


def _pages(told: Account, of: Account | Entry, case: RuleCase) -> int | None:
    amount = of.total if isinstance(of, Account) else of.amount
    page_bytes = case.evidence.kernel.page_size_bytes
    if told.unit != BYTES:
        return amount
    return None if isinstance(page_bytes, Unknown) else amount // page_bytes


def _amount(told: Account, of: Account | Entry) -> str:
    amount = of.total if isinstance(of, Account) else of.amount
    return bytes_text(amount) if told.unit == BYTES else pages_text(amount)


def _share(pages: int, balance: Balance) -> str:
    return share_text(pages / balance.ram_pages)
