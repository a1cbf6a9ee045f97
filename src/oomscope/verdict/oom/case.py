"""What the rules of an OOM class share: the event added up, and how to say a number with its unit and its line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from oomscope.attribution.culprit import requester
from oomscope.attribution.gfp import names_of
from oomscope.model.oom_analysis import Accounting, OomAnalysis, RequestFacts, ZoneCheck
from oomscope.model.oom_event import KILL, PANIC, OomEvent
from oomscope.model.verdict import Finding
from oomscope.units import bytes_text, pages_text, share_text

MEMCG_LIMIT, VMALLOC_SPACE, CMA, NO_SHORTAGE = "memcg-limit", "vmalloc-space", "cma", "no-shortage"
LOWMEM_ZONE, FRAGMENTATION, ATOMIC_RESERVE = "lowmem-zone", "fragmentation", "atomic-reserve"
USER_ANON, SHMEM, PAGE_CACHE, SLAB, HUGETLB = "user-anon", "shmem", "page-cache", "slab", "hugetlb"
STACKS_TABLES, HIDDEN_KERNEL, VMALLOC = "kernel-stacks-pagetables", "hidden-kernel", "vmalloc"
UNDETERMINED = "undetermined"


_BEFORE_NAMES = "4.6"  # mm/page_alloc.c and mm/oom_kill.c print %pGg from then on
_TINY = 0.01
_MOSTLY = 4
_SOME_PAGES = 256


# Classes that leave memory without a name, which allocation stacks may give.
WANTS_A_NAME = (HIDDEN_KERNEL, VMALLOC, SLAB)


@dataclass(frozen=True, slots=True)
class Cause:
    """A class that an event is of, and the finding that says so."""

    oom_class: str
    finding: Finding


@dataclass(frozen=True)
class OomCase:
    """One event with all that was worked out of it; `earlier` are the events before it in the log.

    `ram_bytes` is MemTotal of a /proc/meminfo beside the log. `has_dump` tells that the kernel's memory is there, too.
    """

    analysis: OomAnalysis
    earlier: tuple[OomEvent, ...] = ()
    ram_bytes: int | None = None
    has_dump: bool = False

    @property
    def event(self) -> OomEvent:
        """What the log tells."""
        return self.analysis.event

    @property
    def release(self) -> str | None:
        """The kernel's release; where a mask is printed without names, at least an age: they came with 4.7."""
        if self.event.release is None and self.event.asked.gfp_mask and not self.event.asked.gfp_flags:
            return _BEFORE_NAMES
        return self.event.release

    @property
    def request(self) -> RequestFacts:
        """What was asked for."""
        return self.analysis.request

    @property
    def accounting(self) -> Accounting:
        """The balance."""
        return self.analysis.accounting

    @cached_property
    def allowed(self) -> tuple[ZoneCheck, ...]:
        """The zones that the request could have been served from."""
        return tuple(check for check in self.analysis.zones if check.is_allowed)

    @property
    def is_mostly_reserved(self) -> bool:
        """Whether most of RAM is reserved: for a crash kernel or a hypervisor, or not initialised yet.

        Who holds the rest says little then of why there is none (mm/page_alloc.c, deferred_init_memmap()).
        """
        accounting = self.accounting
        return (accounting.reserved_pages or 0) > _MOSTLY * (accounting.ram_pages or 0)

    def is_tiny(self, check: ZoneCheck) -> bool:
        """A zone that is a hundredth of RAM at most, as DMA is, and passes by some pages: it serves nobody for long."""
        if check.usable_pages is None or check.needed_pages is None:
            return False
        is_small = (check.managed_pages or 0) <= _TINY * self.base_pages
        return is_small and check.usable_pages <= check.needed_pages + _SOME_PAGES

    def is_used_up(self, check: ZoneCheck) -> bool:
        """Whether a zone cannot have served the request.

        Before the OOM killer is called the kernel tries once more with `high` (__alloc_pages_may_oom()): a zone between
        `min` and `high` got its pages back after that.
        """
        if check.passes is False or self.is_tiny(check):
            return True
        return self.event.kind in (KILL, PANIC) and check.is_above_high is False

    @cached_property
    def above(self) -> tuple[ZoneCheck, ...]:
        """The zones that it could not."""
        return tuple(check for check in self.analysis.zones if not check.is_allowed)

    @cached_property
    def base_pages(self) -> int:
        """RAM, or as much of it as the report counts."""
        told = sum(row.pages for row in self.accounting.rows)
        return self.accounting.ram_pages or max(told, self.event.totals.get("pages RAM", 0), 1)

    @property
    def is_larger_than_ram(self) -> bool:
        """Whether the request could not have been met by this machine at all."""
        ram, pages, page_bytes = self.accounting.ram_pages, self.request.pages, self.analysis.page_bytes
        if "exceeds" in self.event.remarks:
            return True
        if ram is None:
            return False
        size_bytes = self.event.asked.size_bytes or 0
        return (pages or 0) > ram or (page_bytes is not None and size_bytes > ram * page_bytes)

    @property
    def is_page_fault(self) -> bool:
        """Whether a page fault called the OOM killer (pagefault_out_of_memory() asks with no flags at all)."""
        asked = self.event.asked
        return asked.gfp_mask == 0 and not asked.gfp_flags and self.event.kind in (KILL, PANIC)

    @cached_property
    def caller(self) -> str:
        """` (from X [module])`: the first function of the stack that is not the allocator's; empty without."""
        culprit = requester(self.event.asked.stack)
        return "" if culprit is None else f" (from {culprit})"

    def of_it_cma(self, checks: Iterable[ZoneCheck]) -> str:
        """`, of it 137.6 MiB CMA, which this request may not use`, where that is a part worth saying."""
        zones = list(checks)
        cma, free = sum(check.cma_pages for check in zones), sum(check.free_pages or 0 for check in zones)
        return f", {self.size(cma)} of it CMA, which this request may not use" if cma * 10 > free > 0 else ""

    @property
    def knows_ram(self) -> bool:
        """Whether shares are of RAM."""
        return self.accounting.ram_pages is not None

    def share(self, pages: int) -> float:
        """Of RAM, or of what is counted."""
        return pages / self.base_pages

    def share_words(self, pages: int) -> str:
        """`93.1 % of RAM`."""
        of = "of what the report counts"
        if self.knows_ram:
            of = "of the zones in this log" if self.accounting.is_of_zones else "of RAM"
        return f"{share_text(self.share(pages))} {of}"

    def size(self, pages: int) -> str:
        """`4.6 GiB`, or pages where the page size is not known."""
        page_bytes = self.analysis.page_bytes
        return pages_text(pages) if page_bytes is None else bytes_text(pages * page_bytes)

    def line(self, name: str) -> str | None:
        """`line 57: active_anon:...`: the evidence itself."""
        number = self.event.lines.get(name)
        return None if number is None else f"line {number}: {self.event.texts.get(number, '')}"

    def evidence(self, *names: str) -> tuple[str, ...]:
        """The lines of these names that are there, each once."""
        return tuple(dict.fromkeys(line for name in names if (line := self.line(name)) is not None))

    @property
    def moment(self) -> str:
        """`Sep 29 08:12:34`, `1234.567890 s`: the log's own stamp, else time since boot as the kernel prints it."""
        if self.event.stamp is not None:
            return self.event.stamp.strip()
        return "" if self.event.at_ns is None else f"{self.event.at_ns / 10**9:.6f} s"

    @property
    def needs(self) -> str:
        """`1 page`, `8 pages in one block (order 3)`."""
        order, pages = self.request.order, self.request.pages
        if order is None or pages is None:
            return "memory"
        return "1 page" if order == 0 else f"{self.size(pages)} in one block (order {order}, {pages_text(pages)})"

    @property
    def gfp(self) -> str:
        """The request's flags as printed."""
        asked = self.event.asked
        if asked.gfp_flags:
            return "|".join(asked.gfp_flags)
        if asked.gfp_mask is None:
            return ""
        names = names_of(asked.gfp_mask)
        return f"{asked.gfp_mask:#x}, {'|'.join(names)}" if names else f"{asked.gfp_mask:#x}"
