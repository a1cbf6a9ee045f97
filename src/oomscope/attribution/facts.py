"""What is worked out of the evidence, once: each fact when it is first asked for, and for whoever asks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from oomscope.attribution.balance import balance, report_balance, through_vmalloc
from oomscope.attribution.census import census_balance
from oomscope.attribution.holdings import culprits, holdings
from oomscope.attribution.oom.events import explained
from oomscope.attribution.side_accounts import SideAccounts, side_accounts
from oomscope.attribution.vmstat_balance import counters_of, vmstat_balance
from oomscope.attribution.witness_comparison import pages_by_culprit, pages_by_stack
from oomscope.model.balance import Balance
from oomscope.model.evidence import Evidence, Moment
from oomscope.model.holding import Culprit, Holding
from oomscope.model.oom_analysis import OomAnalysis
from oomscope.model.reading import ToldCulprit
from oomscope.model.stack import Stack
from oomscope.model.unknown import Unknown


@dataclass(frozen=True)
class Facts:
    """The facts of one machine at its latest moment; `analysis` is the OOM event that is explained, None without one.

    With `is_selected`, filters leave a part of the pages out: nothing is held against all of RAM then.
    """

    evidence: Evidence
    analysis: OomAnalysis | None = None
    is_selected: bool = False

    @cached_property
    def holdings(self) -> list[Holding]:
        """Every stack that holds something, most pages first."""
        return holdings(self.evidence.latest.counts)

    @cached_property
    def accounts(self) -> SideAccounts:
        """What the kernel's own accounts say beside it."""
        return side_accounts(self.evidence)

    @cached_property
    def pages_by_stack(self) -> dict[Stack, int]:
        """Pages of each stack; empty where pages are not counted."""
        return pages_by_stack(self.evidence.latest.counts)

    @property
    def told_culprits(self) -> tuple[ToldCulprit, ...]:
        """Culprits that a dying kernel itself added up; none where filters leave a part out."""
        return () if self.is_selected else self.evidence.latest.reading.notes.log.culprits

    @cached_property
    def pages_by_culprit(self) -> dict[Culprit, int]:
        """Pages of each culprit."""
        return {row.culprit: row.pages for row in culprits(self.holdings, self.told_culprits)}

    @cached_property
    def earlier(self) -> Moment | None:
        """The moment before the latest, if it counts every stack's pages: it shows growth."""
        if len(self.evidence.moments) < 2:
            return None
        earlier = self.evidence.moments[-2]
        if earlier.is_panic_report or earlier.counts.pages is None or self.evidence.latest.counts.pages is None:
            return None
        return earlier

    @cached_property
    def earlier_by_culprit(self) -> dict[Culprit, int] | None:
        """Pages of each culprit at the moment before."""
        return None if self.earlier is None else pages_by_culprit(self.earlier.counts)

    @cached_property
    def apart_ns(self) -> int | None:
        """How long the moment before was before the latest one."""
        latest = self.evidence.latest
        if self.earlier is None or isinstance(self.earlier.at_ns, Unknown) or isinstance(latest.at_ns, Unknown):
            return None
        return latest.at_ns - self.earlier.at_ns

    @cached_property
    def vmalloc(self) -> tuple[int, str]:
        """Pages that vmalloc holds, and who counts them: a census, allocation stacks, or /proc/vmallocinfo."""
        census = self.evidence.latest.reading.census
        if census is not None:
            return census.pages["vmalloc"], "the census of page frames"
        if self.holdings:
            return through_vmalloc(self.holdings), "allocation stacks"
        return self.accounts.vmalloc_pages, "/proc/vmallocinfo"

    @cached_property
    def balance(self) -> Balance | None:
        """Every page of RAM in a row: counted page by page, else by the OOM report, the stacks or the counters.

        None where none of them counts all of RAM.
        """
        evidence, latest = self.evidence, self.evidence.latest
        ram_pages = evidence.ram_pages
        if isinstance(ram_pages, Unknown):
            return None
        if latest.reading.census is not None:
            return census_balance(latest.reading.census, ram_pages)
        if self.analysis is not None and not self.is_selected:
            of_report = report_balance(self.analysis, self.holdings, self.accounts)
            if of_report is not None:
                return of_report
        if latest.counts.stacks:
            return self._balance_by_stacks(ram_pages)
        page_bytes = evidence.kernel.page_size_bytes
        return vmstat_balance(
            counters_of(evidence.readings),
            evidence.meminfo,
            self.accounts,
            ram_pages=ram_pages,
            page_bytes=None if isinstance(page_bytes, Unknown) else page_bytes,
        )

    def _balance_by_stacks(self, ram_pages: int) -> Balance | None:
        latest, free_pages = self.evidence.latest, self.evidence.free_pages
        if isinstance(free_pages, Unknown) or latest.is_panic_report or latest.counts.pages is None:
            return None
        return None if self.is_selected else balance(self.holdings, ram_pages=ram_pages, free_pages=free_pages)


def facts_of(evidence: Evidence) -> Facts:
    """The facts at the moment that is explained where nothing else is asked for."""
    events = evidence.events
    return Facts(evidence, events[explained(events)].analysis if events else None)
