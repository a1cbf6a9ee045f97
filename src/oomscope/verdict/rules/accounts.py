"""What the kernel's own accounts say of who holds memory: the largest row of the balance, the largest of each file."""

from __future__ import annotations

from oomscope.attribution.vmstat_balance import counters_of, vmstat_balance
from oomscope.model.account import (
    ADDRESS_SPACE,
    BYTES,
    CACHED_RAM,
    CALL_SITE,
    CMA_POOL,
    CONTROL_GROUP,
    COUNTER,
    DMA_BUFFER,
    FREE_RAM,
    GRAPHICS,
    HUGE_PAGES,
    KERNEL_RAM,
    LOST_RAM,
    MODULE,
    OUTSTANDING,
    PART_OF_RAM,
    PER_CPU,
    PROCESS,
    PROPORTIONAL,
    SLAB_CACHE,
    UNREFERENCED,
    USER_RAM,
    VMALLOC_CALLER,
    ZFS,
    ZRAM_DISK,
    Account,
    Entry,
)
from oomscope.model.balance import Balance, BalanceRow
from oomscope.model.oom_analysis import ANON, FREE, SHMEM, SLAB_RECLAIMABLE, SLAB_UNRECLAIMABLE
from oomscope.model.unknown import Unknown
from oomscope.model.verdict import CERTAIN, LIKELY, POSSIBLE, Finding
from oomscope.units import AT_ONE_MOMENT, bytes_text, counted, pages_text, share_text, size_text
from oomscope.verdict import advice
from oomscope.verdict.rules.case import RuleCase

_WORTH_NAMING = 0.05  # of RAM
_ROOM = 0.2  # of RAM
_PLENTY, _NEARLY_FULL = 0.5, 0.05
_TWO = 2
_MUCH_LOST = 0.1
_OF_SLAB = (SLAB_RECLAIMABLE, SLAB_UNRECLAIMABLE)
_NAMES = {SHMEM: "shared memory and tmpfs (shmem)", ANON: "process memory (anonymous)"}
# What is told beside stacks or a report, too: the accounts stand in its balance already.
_OBJECT_LEVEL = (UNREFERENCED, DMA_BUFFER, ZRAM_DISK, GRAPHICS)
_CLAIMS = {
    SLAB_CACHE: "{name} is the largest slab cache: {amount}, {count} objects in use",
    UNREFERENCED: "{name} allocated most of what nothing points to any more: {amount} in {count} objects",
    OUTSTANDING: "{name} allocated most of what memleak saw allocated and not freed: {amount} in {count} allocations",
    ZFS: "ZFS' {name} takes {amount}; the kernel does not count it",
    HUGE_PAGES: "{count} huge pages are {name}: {amount}",
    COUNTER: "{name} is the largest of the counters that were given: {amount}",
    CMA_POOL: "{name} has most contiguous memory in use: {amount} ({place})",
    CONTROL_GROUP: "{name} is the largest control group: {amount}",
    CALL_SITE: "{name} is the call site that holds most: {amount} in {count} calls",
    VMALLOC_CALLER: "{name} mapped most with vmalloc: {amount} in {count} areas",
    ADDRESS_SPACE: "{name} reserves most address space of vmalloc: {amount} in {count} areas; how much of it has "
    "pages the file does not show",
    DMA_BUFFER: "{name} exported most of the memory that devices share: {amount} in {count} buffers",
    ZRAM_DISK: "{name} takes {amount} for what it has compressed ({place})",
    PER_CPU: "{name} of per-cpu memory take {amount} for each CPU",
    GRAPHICS: "{name} take {amount} ({count} buffers), most of it as shared memory (shmem)",
    PROCESS: "{name} is the largest by name: {amount}{share} of resident memory in {count}",
    PROPORTIONAL: "{name} is the largest by name: {amount}{share} (Pss) in {count}{most}",
    MODULE: "{name} is the largest module: {amount} of code and data",
}
_NEXT_OF_PARTS = {
    LOST_RAM: "buffers of GPU, camera and modem are counted nowhere: /sys/kernel/debug/dma_buf/bufinfo, ion",
    KERNEL_RAM: "/proc/meminfo and slabinfo tell what of it is slab; a page_owner dump names the rest",
    USER_RAM: "ps -eo rss,pid,comm --sort -rss | head names the processes",
}
_NEXT = {
    SLAB_CACHE: "{slab_owners}: who allocated them",
    UNREFERENCED: "read the error paths of {name}: what it allocates there is never freed",
    OUTSTANDING: "what is in use for good reason stands in it, too: two lists, minutes apart, show what only grows",
    ZFS: "the ARC shrinks by itself, but slowly: zfs_arc_max bounds it (/sys/module/zfs/parameters)",
    HUGE_PAGES: "who needs them maps them (ls /dev/hugepages); sysctl vm.nr_hugepages frees the rest",
    COUNTER: "give the whole /proc/meminfo: MemTotal tells what share that is, and what no counter has",
    CMA_POOL: "dma-buf heaps, V4L2 and DRM take it: /sys/kernel/debug/dma_buf/bufinfo, dri/*/gem_names",
    CONTROL_GROUP: "memory.stat of {name} tells what fills it",
    CALL_SITE: "read {name} {place}: who calls it, and who should free what it returns",
    ADDRESS_SPACE: "per-cpu memory: Percpu in /proc/meminfo and /sys/kernel/debug/percpu_stats tell the pages; on 32 "
    "bit, vmalloc=SIZE on the command line",
    VMALLOC_CALLER: "find who should vfree() what {name} maps",
    DMA_BUFFER: "lsof /dmabuf: and /proc/*/fdinfo tell which processes keep the buffers",
    ZRAM_DISK: "it is swap or a file system in memory: its users decide what it holds",
    PER_CPU: "allocation profiling (sysctl.vm.mem_profiling=1, kernels from 6.10 on) names who allocates it",
    GRAPHICS: "see which client keeps them: /sys/kernel/debug/dri/*/clients, fdinfo of the compositor",
    PROCESS: "shared pages count in each process: smem -k, or Pss in /proc/PID/smaps_rollup, tells its own",
    PROPORTIONAL: "/proc/PID/smaps_rollup, or dumpsys meminfo PID, tells what it is made of",
    MODULE: "what a module allocates is counted elsewhere: /proc/allocinfo, page_owner",
}


def rule(case: RuleCase) -> tuple[Finding, ...]:
    """Claims the largest row of the balance and of each file, where neither stacks nor a report tell more."""
    accounts = case.facts.accounts
    alone = case.is_of_accounts
    found: list[Finding] = []
    # A report that kept no numbers says nothing of RAM: /proc/meminfo beside it does.
    is_empty = case.event is not None and not case.event.accounting.rows and case.event.event.memcg is None
    of_all = _of_all(case) if alone or is_empty else []
    has_pages = any(told.kind == VMALLOC_CALLER for told in accounts.accounts)
    for told in accounts.accounts:
        if told.kind == ADDRESS_SPACE and has_pages:
            continue  # the pages are what counts
        if told.kind == PART_OF_RAM:
            found += _of_parts(told) if alone else []
        elif alone or (told.kind in _OBJECT_LEVEL and _is_large(told, case)):
            found.append(_of_file(told, told.entries[0], case))
    # Where the greater part of RAM is in what was not given, a table of who has it tells more than what is left.
    is_part = bool(case.balance is not None and case.balance.missing)
    return (*found, *of_all) if is_part and found and _is_worth_leading(case) else (*of_all, *found)


def _is_worth_leading(case: RuleCase) -> bool:
    """Whether the accounts that were given have a part of RAM that is worth naming."""
    meminfo = case.facts.evidence.meminfo
    in_bytes = [told.total for told in case.facts.accounts.accounts if told.unit == BYTES]
    if meminfo is None or len(in_bytes) < len(case.facts.accounts.accounts):
        return True
    return max(in_bytes, default=0) >= _WORTH_NAMING * meminfo.total_bytes


def _of_all(case: RuleCase) -> list[Finding]:
    """What all of memory is used for; by kB alone where the page size is not known, by counters where RAM is not."""
    evidence = case.facts.evidence
    if case.balance is not None:
        return [*_of_plenty(case, case.balance), *_of_balance(case, case.balance)]
    meminfo, others = evidence.meminfo, case.facts.accounts
    if meminfo is not None:
        kib = meminfo.total_bytes // 1024
        in_kib = vmstat_balance({}, meminfo, others, ram_pages=kib, page_bytes=1024)
        return [] if in_kib is None else [*_of_plenty(case, in_kib), *_of_balance(case, in_kib, unit_bytes=1024)]
    counters = counters_of(evidence.readings)
    counted = vmstat_balance(counters, None, others, ram_pages=1, page_bytes=None) if counters else None
    return [] if counted is None else _of_counters(counted)


def _of_counters(balance: Balance) -> list[Finding]:
    """Without RAM: shares of what is counted."""
    told = sum(row.pages for row in balance.rows)
    held = [row for row in balance.rows if row.kind != FREE]
    free = told - sum(row.pages for row in held)
    if not held:
        return []
    largest = max(held, key=lambda row: row.pages)
    name = _NAMES.get(largest.kind, largest.kind)
    return [
        Finding(
            claim=f"{name} holds {pages_text(largest.pages)}, {share_text(largest.pages / told)} of what the counters "
            f"have together; {pages_text(free)} ({share_text(free / told)}) are free",
            pages=largest.pages,
            certainty=LIKELY,
            because=(f"the kernel counts it: {largest.source}",),
            refuted_by="much memory that no counter has: RAM is not in the input",
            next="give /proc/meminfo beside it: MemTotal tells what no counter has",
        )
    ]


def _of_plenty(case: RuleCase, balance: Balance) -> list[Finding]:
    """Where half of RAM is free or can be had at once, nobody eats it up; swap that is full is said first."""
    meminfo = case.facts.evidence.meminfo
    kib = {} if meminfo is None else meminfo.kib
    total = kib.get("SwapTotal", 0)
    if total and kib.get("SwapFree", total) < _NEARLY_FULL * total:
        size = bytes_text(total * 1024)
        available_kib = kib.get("MemAvailable", 0)
        has_room = available_kib >= _ROOM * kib.get("MemTotal", 1)
        what = (
            f"while {bytes_text(available_kib * 1024)} of RAM is available: what was swapped out earlier stays there "
            "until it is used"
            if has_room
            else "process memory has nowhere to go"
        )
        return [
            Finding(
                claim=f"swap is full ({size}){', ' if has_room else ': '}{what}",
                pages=None,
                certainty=CERTAIN,
                because=("SwapTotal, SwapFree",),
                refuted_by="nothing: it is the kernel's own counter",
                next="grep -H VmSwap /proc/[0-9]*/status | sort -k2 -n | tail names who is in it",
            )
        ]
    free = sum(row.pages for row in balance.rows if row.kind == FREE)
    if not _fits(balance):
        return []
    available = kib.get("MemAvailable", 0) / max(kib.get("MemTotal", 1), 1)
    share = max(available, free / max(balance.ram_pages, 1))
    if not _PLENTY <= share <= AT_ONE_MOMENT:
        return []
    amount = "" if meminfo is None else f"{bytes_text(round(share * meminfo.total_bytes))}, "
    word = "available" if available > free / max(balance.ram_pages, 1) else "free"
    return [
        Finding(
            claim=f"memory is not short: {amount}{share_text(share)} of RAM is {word}",
            pages=None,
            certainty=CERTAIN,
            because=("MemAvailable" if word == "available" else "MemFree",),
            refuted_by="a reading of the moment of the trouble",
            next="take the reading again when it is short; two of them tell what grew (oomscope diff)",
        )
    ]


def _of_balance(case: RuleCase, balance: Balance, *, unit_bytes: int | None = None) -> list[Finding]:
    held = [row for row in balance.rows if row.kind != FREE]
    if not held:
        return [_unexplained(case, balance, unit_bytes)] if balance.unexplained_pages > 0 else []
    largest = _largest(held)
    found = []
    if balance.unexplained_pages > largest.pages:
        found.append(_unexplained(case, balance, unit_bytes))
    named = f", most of it {largest.parts[0][0]}" if largest.parts else ""
    found.append(
        Finding(
            claim=f"{_NAMES.get(largest.kind, largest.kind)} holds {_size(case, largest.pages, unit_bytes)}, "
            f"{_share(largest.pages, balance)} of RAM{named}",
            pages=largest.pages if unit_bytes is None else None,
            certainty=_certainty(balance),
            because=(f"the kernel counts it: {largest.source}",),
            refuted_by="nothing: it is the kernel's own counter",
            next="oomscope diff of two readings shows what grows",
        )
    )
    if balance.unexplained_pages > _WORTH_NAMING * balance.ram_pages and len(found) < _TWO:
        found.append(_unexplained(case, balance, unit_bytes))
    return found


def _largest(held: list[BalanceRow]) -> BalanceRow:
    """The largest holder; slab is one, whether it can be reclaimed or not."""
    slab = [row for row in held if row.kind in _OF_SLAB]
    if len(slab) > 1:
        parts = max(slab, key=lambda row: row.pages).parts
        together = BalanceRow("slab", sum(row.pages for row in slab), parts, ", ".join(row.source for row in slab))
        held = [*(row for row in held if row.kind not in _OF_SLAB), together]
    return max(held, key=lambda row: row.pages)


def _size(case: RuleCase, pages: int, unit_bytes: int | None) -> str:
    """`664.7 MiB (170,162 pages)`. Pages that were made of kB with the usual size give these kB again."""
    if unit_bytes is not None:
        return bytes_text(pages * unit_bytes)
    kernel = case.evidence.kernel
    page_bytes = None if isinstance(kernel.page_size_bytes, Unknown) else kernel.page_size_bytes
    if page_bytes is None and case.facts.evidence.meminfo is not None:
        page_bytes = kernel.page_size_assumed_bytes
    return size_text(pages, page_bytes)


def _unexplained(case: RuleCase, balance: Balance, unit_bytes: int | None) -> Finding:
    pages = balance.unexplained_pages
    if balance.missing:
        return Finding(
            claim=f"{_size(case, pages, unit_bytes)}, {_share(pages, balance)} of RAM, is in what was not given "
            f"({_listed(balance.missing)}) or unaccounted for",
            pages=pages if unit_bytes is None else None,
            certainty=POSSIBLE,
            because=("these rows stand in every /proc/meminfo",),
            refuted_by="the whole file",
            next="give the whole /proc/meminfo: what was pasted is a part of it",
        )
    named = next(((name, part) for name, part in balance.unexplained_parts if part > pages / 2), None)
    most = "" if named is None else f"; {named[0]} took {pages_text(named[1])} of them"
    return Finding(
        claim=f"{_size(case, pages, unit_bytes)}, {_share(pages, balance)} of RAM, is unaccounted for{most}",
        pages=pages if unit_bytes is None else None,
        certainty=_certainty(balance),
        because=("MemTotal less every counter of the kernel: drivers' pages and vmalloc are in none of them",),
        refuted_by="readings of several moments: their sum is of none of them",
        next=advice.page_takers(case.release) if named is None else f"find who should give back what {named[0]} takes",
    )


def _listed(kinds: tuple[str, ...]) -> str:
    """`process memory (anonymous), slab`: both halves of slab are one holder."""
    return ", ".join(dict.fromkeys("slab" if kind in _OF_SLAB else _NAMES.get(kind, kind) for kind in kinds))


def _certainty(balance: Balance) -> str:
    """The kernel's counters are certain as long as no row has more than all of RAM: then one of them is damaged."""
    return CERTAIN if _fits(balance) and not balance.missing else POSSIBLE


def _fits(balance: Balance) -> bool:
    return all(row.pages <= AT_ONE_MOMENT * balance.ram_pages for row in balance.rows)


def _of_file(told: Account, entry: Entry, case: RuleCase) -> Finding:
    amount = _amount(told, entry, case)
    texts = {"name": str(entry), "amount": amount, "count": f"{entry.count:,}", "place": entry.place, "share": ""}
    texts["most"] = f", most of it {entry.place}" if entry.place else ""
    if told.kind in (PROCESS, PROPORTIONAL):
        texts["count"] = "1 process" if entry.count == 1 else f"{entry.count:,} processes"
        meminfo = case.facts.evidence.meminfo
        if meminfo is not None and entry.amount <= meminfo.total_bytes:
            texts["share"] = f" ({share_text(entry.amount / meminfo.total_bytes)} of RAM)"
    return Finding(
        claim=_CLAIMS[told.kind].format(**texts),
        pages=_pages(told, entry, case),
        certainty=_certainty_of(told, entry, case),
        because=(f"its file has {counted(len(told.entries), 'row')}, {_amount(told, told, case)} in all",),
        refuted_by="kmemleak is wrong where a pointer is kept in a form that it does not see"
        if told.kind == UNREFERENCED
        else "another reading: the file is of one moment",
        next=_NEXT[told.kind].format(**texts, slab_owners=advice.slab_owners(case.release, entry.name)),
    )


def _certainty_of(told: Account, entry: Entry, case: RuleCase) -> str:
    """A row that has more than all of RAM is damaged, or of another machine."""
    pages, ram_pages, meminfo = _pages(told, entry, case), case.evidence.ram_pages, case.facts.evidence.meminfo
    if pages is not None and not isinstance(ram_pages, Unknown) and pages > AT_ONE_MOMENT * ram_pages:
        return POSSIBLE
    if told.unit == BYTES and meminfo is not None and entry.amount > AT_ONE_MOMENT * meminfo.total_bytes:
        return POSSIBLE
    return LIKELY if told.kind in (UNREFERENCED, OUTSTANDING, GRAPHICS, COUNTER) else CERTAIN


def _of_parts(told: Account) -> list[Finding]:
    """What Android says RAM is used for: the largest part that holds memory, and what it could count nowhere."""
    whole = told.total
    of = {entry.name: entry.amount for entry in told.entries}
    can_be_had = sum(of.get(name, 0) for name in (FREE_RAM, CACHED_RAM))
    held = {name: amount for name, amount in of.items() if name not in (FREE_RAM, CACHED_RAM)}
    found = []
    if can_be_had >= _PLENTY * whole:
        found.append(
            Finding(
                claim=f"memory is not short: {share_text(can_be_had / whole)} of RAM is free or can be freed",
                pages=None,
                certainty=CERTAIN,
                because=(f"what was added up makes {bytes_text(whole)}",),
                refuted_by="a reading of the moment of the trouble",
                next="take the reading again when it is short; two of them tell what grew",
            )
        )
    for name in sorted(held, key=lambda each: -held[each]):
        is_lost = name == LOST_RAM
        if found and not (is_lost and held[name] >= _MUCH_LOST * whole):
            continue
        amount = f"{bytes_text(held[name])} ({share_text(held[name] / whole)} of RAM)"
        found.append(
            Finding(
                claim=f"{amount} is unaccounted for (Lost RAM)" if is_lost else f"largest user of RAM: {name} {amount}",
                pages=None,
                certainty=LIKELY,
                because=(f"what was added up makes {bytes_text(whole)}",),
                refuted_by="another reading: shared memory of processes that ended meanwhile counts nowhere",
                next=_NEXT_OF_PARTS.get(name, "see the largest of them below; dumpsys meminfo PID tells its parts"),
            )
        )
    return found


def _is_large(told: Account, case: RuleCase) -> bool:
    pages, ram_pages = _pages(told, told, case), case.evidence.ram_pages
    return pages is not None and not isinstance(ram_pages, Unknown) and pages >= _WORTH_NAMING * ram_pages


def _pages(told: Account, of: Account | Entry, case: RuleCase) -> int | None:
    amount = of.total if isinstance(of, Account) else of.amount
    page_bytes = case.evidence.kernel.page_size_bytes
    if told.unit != BYTES:
        return amount
    return None if isinstance(page_bytes, Unknown) else amount // page_bytes


def _amount(told: Account, of: Account | Entry, case: RuleCase) -> str:
    amount = of.total if isinstance(of, Account) else of.amount
    return bytes_text(amount) if told.unit == BYTES else _size(case, amount, None)


def _share(pages: int, balance: Balance) -> str:
    return share_text(pages / balance.ram_pages)
