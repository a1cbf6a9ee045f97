"""hugetlb: the pool of huge pages holds most of RAM, used or not."""

from __future__ import annotations

from oomscope.model import oom_analysis as rows
from oomscope.model.verdict import Finding
from oomscope.verdict.oom.case import HUGETLB, OomCase

OOM_CLASS = HUGETLB


def pages(case: OomCase) -> int:
    """All pools."""
    return case.accounting.pages(rows.HUGETLB)


def finding(case: OomCase, held_pages: int, certainty: str) -> Finding:
    """How much of the pool is used."""
    page_kib = case.event.page_kib or 4
    free = sum(pool.free * pool.size_kib for pool in case.event.huge_pages) // page_kib
    pools = [f"hugepages of {pool.size_kib}kB" for pool in case.event.huge_pages if pool.total]
    return Finding(
        claim=f"the huge page pool: {case.size(held_pages)}, {case.share_words(held_pages)}; {case.size(free)} "
        "of it is unused",
        pages=held_pages,
        certainty=certainty,
        because=case.evidence(*pools, "pages RAM"),
        refuted_by="nothing: the pool's size is the kernel's own",
        next="make the pool as large as what uses it: vm.nr_hugepages, hugepages= on the command line",
    )
