"""The greatest memory consumer, in one claim."""

from __future__ import annotations

from oomscope.model.holding import HUGETLB, KERNEL_STACKS, PAGE_CACHE, PAGE_TABLES, SLAB, USER
from oomscope.model.ranked import Consumer
from oomscope.model.verdict import CERTAIN, LIKELY, POSSIBLE, Finding
from oomscope.units import pages_text, share_text
from oomscope.verdict import advice
from oomscope.verdict.rules.case import MOST, RuleCase, where_command


def rule(case: RuleCase) -> tuple[Finding, ...]:
    """Claims who holds most, from the ranked stacks."""
    if case.most_allocations:
        return (_most_allocations(case),)
    if not case.consumers:
        return ()
    consumer = case.consumers[0]
    share = "" if consumer.share_of_ram is None else f", {share_text(consumer.share_of_ram)} of RAM"
    return (
        Finding(
            claim=f"{_subject(consumer)} {_holds(consumer)} {case.size(consumer.pages)}{share}",
            pages=consumer.pages,
            certainty=_certainty(case, consumer),
            because=_because(case, consumer),
            refuted_by=_refuted_by(consumer),
            next=_next(case, consumer),
        ),
    )


def _certainty(case: RuleCase, consumer: Consumer) -> str:
    """Who grew a slab cache is at most likely to hold its objects, unless their owners say the same."""
    if consumer.holding.culprit_is_helper:
        return POSSIBLE
    log = case.evidence.latest.reading.notes.log
    if log.sampled is not None or log.stopped:
        return LIKELY
    if consumer.holding.kind != SLAB:
        return CERTAIN
    truth = case.slab_ownership([consumer.holding.stack])
    agrees = truth is not None and truth.owner == consumer.holding.culprit
    return CERTAIN if agrees and truth is not None and truth.held > MOST * truth.objects else LIKELY


def _refuted_by(consumer: Consumer) -> str:
    if consumer.holding.culprit_is_helper:
        return "a deeper stack: this one shows helpers only, and who called them is cut off"
    if consumer.holding.kind == SLAB:
        return "object owners that name another holder of the slab objects"
    return "a second count of the same pages (show_stacks, kernel memory) that differs"


def _subject(consumer: Consumer) -> str:
    holding = consumer.holding
    if holding.culprit is not None:
        return str(holding.culprit)
    if holding.kind == USER:
        return "memory of processes, brought in by one path,"
    if holding.is_shmem:
        return "tmpfs and shared memory, brought in by one path,"
    if holding.kind == PAGE_CACHE:
        return "page cache, brought in by one path,"
    if holding.kind == HUGETLB:
        return "the pool of huge pages"
    return f"the stack of handle {holding.stack.handle}"


def _holds(consumer: Consumer) -> str:
    return "grew slab caches to hold" if consumer.holding.kind == SLAB else "holds"


def _because(case: RuleCase, consumer: Consumer) -> tuple[str, ...]:
    reading = case.evidence.latest.reading
    if reading.notes.log.reports:
        counted = f"{reading.origin}: the kernel's at-panic line says {pages_text(consumer.pages)}"
    elif consumer.holding.blocks is None:
        counted = f"{reading.origin}: nr_base_pages: {consumer.pages} under this stack"
    else:
        counted = f"{reading.origin}: {consumer.holding.blocks:,} records carry this stack"
    truth = case.slab_ownership([consumer.holding.stack]) if consumer.holding.kind == SLAB else None
    if truth is not None:
        counted = f"{counted}; {truth.by}: {truth.owner} holds {truth.held:,} of {truth.objects:,} objects there"
    ram = case.evidence.meminfo
    return (counted,) if ram is None else (counted, f"MemTotal: {ram.total_bytes // 1024} kB")


def _next(case: RuleCase, consumer: Consumer) -> str:
    holding = consumer.holding
    if holding.kind == USER:
        tasks = () if consumer.detail is None else consumer.detail.tasks
        who = ", ".join(f"{task.comm} (pid {task.pid})" for task, _ in tasks[:2] if task.pid is not None)
        return (
            f"see who grew: {who}; --by comm lists all"
            if who
            else "see which process grew: ps -eo rss,pid,comm --sort=-rss"
        )
    census = case.evidence.latest.reading.census
    is_mostly_shmem = census is not None and census.pages["shmem"] > census.pages["file"]
    if holding.is_shmem or (holding.kind == PAGE_CACHE and is_mostly_shmem):
        return "mostly tmpfs and shared memory, which is not given back under pressure: see df -t tmpfs and ipcs -m"
    if holding.kind == PAGE_CACHE:
        return "page cache is freed under pressure unless pinned, dirty or in tmpfs: compare Shmem in meminfo"
    if holding.kind == HUGETLB:
        return "compare HugePages_Total, Free and Rsvd in meminfo with what is in use; vm.nr_hugepages sets the pool"
    if holding.kind == PAGE_TABLES:
        return "see whose they are: grep VmPTE /proc/[0-9]*/status"
    if holding.kind == KERNEL_STACKS:
        return "see who has the threads: grep Threads /proc/[0-9]*/status"
    where = where_command(holding.stack.texts, holding.culprit)
    if holding.kind == SLAB and case.slab_ownership([holding.stack]) is None:
        return f"{where}; the objects' holders: {advice.slab_owners(case.release)}"
    return where


def _most_allocations(case: RuleCase) -> Finding:
    first = case.most_allocations[0]
    return Finding(
        claim=f"{first.culprit or 'one stack'} made most allocations: {first.blocks:,}; "
        f"they are at least as many pages, more where orders are above 0",
        pages=None,
        certainty=CERTAIN,
        because=(f"{case.evidence.latest.reading.origin}: stack_count: {first.blocks} under this stack",),
        refuted_by="a page_owner dump of the same machine",
        next="read page_owner itself for pages: this kernel's show_stacks counts allocations",
    )
