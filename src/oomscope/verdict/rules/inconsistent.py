"""Inputs that cannot be of one moment, or of one machine; and dumps that contradict themselves."""

from __future__ import annotations

from collections.abc import Iterator

from oomscope.model.census import Census
from oomscope.model.verdict import CERTAIN, LIKELY, Finding
from oomscope.units import counted, pages_text
from oomscope.verdict.rules.case import RuleCase

# What page_owner's own count per stack never counts; anything else in a dead kernel's memory is a contradiction.
_NEVER_COUNTED = ("early", "dummy", "failure")


def rule(case: RuleCase) -> tuple[Finding, ...]:
    """Claims an inconsistent snapshot where more is counted than RAM has, or one part of a dump contradicts another."""
    return (*_beyond_ram(case), *_missed_by_tracking(case), *_contradictions(case))


def _missed_by_tracking(case: RuleCase) -> tuple[Finding, ...]:
    """Pages that were freed by an interrupt within the program: their owner is an old one, and no damage."""
    reading = case.evidence.latest.reading
    missed, census = reading.notes.missed_frees, reading.census
    if census is None or not missed or not census.contradictions:
        return ()
    return (
        Finding(
            claim=f"{pages_text(census.contradictions)} are free and still have their last owner: tracking missed "
            f"{counted(missed, 'event')} of pages being freed",
            pages=census.contradictions,
            certainty=CERTAIN,
            because=("the kernel counts how often it passed over the program, because an interrupt came within it",),
            refuted_by="a count of 0: then the dump is damaged",
            next="none is needed: such a page gets its owner when it is allocated again",
        ),
    )


def _contradictions(case: RuleCase) -> tuple[Finding, ...]:
    reading = case.evidence.latest.reading
    if reading.census is None or reading.notes.stats.unread_share:
        return ()  # what could not be read contradicts nothing; the verdict is partial and says so
    is_live = reading.notes.system is not None and reading.notes.system.is_live
    return tuple(
        Finding(
            claim=f"the snapshot is inconsistent: {claim}",
            pages=pages,
            certainty=certainty,
            because=(because,),
            refuted_by="a second dump without such pages",
            next="the kernel went on while it was read: read again for the difference"
            if is_live
            else "the dump is damaged: hold its numbers against another source",
        )
        for claim, pages, because, certainty in _found(case, is_live=is_live)
    )


def _found(case: RuleCase, *, is_live: bool) -> Iterator[tuple[str, int, str, str]]:
    census = case.evidence.latest.reading.census
    assert census is not None
    if (pages := census.contradictions) and not case.evidence.latest.reading.notes.missed_frees:
        if case.evidence.latest.reading.notes.tracked_since_ns is not None:
            because = "tracking misses a free that interrupts it; such a page has its owner until it is allocated again"
            yield f"{pages_text(pages)} are free by struct page and still tracked", pages, because, CERTAIN
        else:
            because = "page_owner lets go of a page when it is freed, before it is on any free list"
            yield f"{pages_text(pages)} are free by struct page and owned by page_owner", pages, because, CERTAIN
    if pages := census.unowned_pages:
        yield (
            f"{pages_text(pages)} are in use and have no owner on record",
            pages,
            "page_owner records every page that the page allocator gives away",
            CERTAIN,
        )
    if is_live:
        return
    for what, ours, theirs in _against_counters(census):
        if theirs is not None and ours != theirs:
            because = "of a kernel that stands still the two are equal"
            claim = f"{what}: {pages_text(ours)} by struct page, {theirs:,} by the counter"
            yield claim, abs(ours - theirs), because, LIKELY
    if case.balance is not None and case.balance.unexplained_pages > 0:
        pages = case.balance.unexplained_pages
        yield f"{pages_text(pages)} of RAM have no struct page", pages, "every managed page has one", CERTAIN
    for witness in case.witnesses:
        differences = [part for part in witness.parts if part.reason not in _NEVER_COUNTED]
        if witness.origin.endswith("stack depot") and differences:
            pages = sum(abs(part.amount) for part in differences)
            yield (
                f"page_ext and page_owner's own count per stack differ by {pages_text(pages)}",
                pages,
                "; ".join(part.stacks for part in differences),
                CERTAIN,
            )


def _against_counters(census: Census) -> Iterator[tuple[str, int, int | None]]:
    """What struct page says beside the kernel's counter of the same (docs/formats/kernel_memory.md)."""
    counters = census.counters
    yield "free", census.pages["free"], counters.get("NR_FREE_PAGES")
    yield "tmpfs and shared memory", census.pages["shmem"], counters.get("NR_SHMEM")
    yield "page tables", census.pages["page tables"], counters.get("NR_PAGETABLE")
    if "NR_FILE_PAGES" in counters and not counters.get("NR_SWAPCACHE"):
        yield "page cache", census.pages["file"] + census.pages["shmem"], counters["NR_FILE_PAGES"]


def _beyond_ram(case: RuleCase) -> tuple[Finding, ...]:
    if case.balance is None or case.balance.is_consistent or case.evidence.latest.reading.notes.stats.unread_share:
        return ()
    beyond = -case.balance.unexplained_pages
    return (
        Finding(
            claim=f"the snapshot is inconsistent: {pages_text(beyond)} more are counted than RAM has",
            pages=beyond,
            certainty=CERTAIN,
            because=(f"{pages_text(case.balance.ram_pages)} of RAM against the rows of the balance",),
            refuted_by="a /proc/meminfo read at the same time as the dump",
            next="read /proc/meminfo right after page_owner; shares of RAM stand, the balance does not"
            if case.evidence.latest.reading.census is None
            else "the dump is damaged: hold its numbers against another source",
        ),
    )
