"""The kernel's own accounts in every captured case: known to the last line, and equal to what the guest knows."""

from __future__ import annotations

from pathlib import Path

import pytest

import oomscope
from oomscope.model.account import CALL_SITE, SLAB_CACHE, VMALLOC_CALLER, Account, Entry
from oomscope.sources import recognise
from tests.support import captures
from tests.support.accounts import notes_of
from tests.support.lab_cases import ACCOUNTS, CASES, HolderTruth, each

FILES = (
    *("meminfo", "slabinfo", "vmallocinfo", "allocinfo", "zoneinfo", "vmstat", "buddyinfo", "pagetypeinfo", "modules"),
    *("bufinfo", "zram0.mm_stat", "alloc_traces", "free_traces"),
)
MOMENTS = [moment for case in CASES for moment in case.moments if (moment / "version").exists()]
_PAGE_BYTES = 4096


def found(moment: Path) -> dict[str, Path]:
    """The accounts captured at a moment, by name."""
    return {name: path for name in FILES for path in (moment / name, moment / f"{name}.zst") if path.exists()}


def entries(folder: Path, kind: str) -> tuple[Entry, ...]:
    told: Account | None = next(
        (each for each in oomscope.explain(*found(folder).values()).accounts if each.kind == kind), None
    )
    return () if told is None else told.entries


def test_every_line_of_every_account_is_known() -> None:
    """Over all kernels and cases: each file is of the format of its name, without a strange line or a spoilt record."""
    if not MOMENTS:
        pytest.skip("lab/out has no case")
    strange = []
    for moment in MOMENTS:
        for name, path in found(moment).items():
            raw = captures.text(path)
            if not raw:
                continue  # no owner on record, no vmalloc area
            source = recognise(raw)
            if source is None or not name.replace("free_", "alloc_").endswith(source.format.rpartition(" ")[2]):
                strange.append((path, None if source is None else source.format))
                continue
            notes = notes_of(raw, len(raw))
            if notes.stats.unknown_lines or notes.stats.corrupt_records:
                strange.append((path, f"{notes.stats.unknown_lines} unknown lines"))
    assert strange == []


HELD = [a for a in ACCOUNTS if a.module == "oomlab" and a.case.end != "kill"]
BY_SITE = [a for a in HELD if a.kind == "kernel" and a.has("allocinfo") and a.function != "take_vmalloc"]
BY_VMALLOC = [a for a in HELD if a.function == "take_vmalloc" and a.has("vmallocinfo")]
BY_CACHE = [a for a in HELD if a.function == "take_object" and a.has("slabinfo")]


@pytest.mark.parametrize("account", each(BY_SITE))
def test_allocinfo_names_the_holder_of_pages(account: HolderTruth) -> None:
    """Alone with meminfo: the call site has at least the pages that the module itself counts."""
    sites = [e for e in entries(account.folder, CALL_SITE) if (e.name, e.module) == (account.function, "oomlab")]
    # Blocks of which a part was given back are counted whole.
    assert sum(site.amount for site in sites) >= account.pages * _PAGE_BYTES
    if account.case.scenario in ("page-panic", "many-paths", "numa", "lowmem"):
        assert sum(site.amount for site in sites) == account.pages * _PAGE_BYTES


@pytest.mark.parametrize("account", each(BY_VMALLOC))
def test_vmallocinfo_names_the_holder(account: HolderTruth) -> None:
    """The caller's pages are those that the module itself counts."""
    (caller,) = [e for e in entries(account.folder, VMALLOC_CALLER) if e.name == account.function]
    assert (caller.module, caller.amount) == ("oomlab", account.pages)


@pytest.mark.parametrize("account", each(BY_CACHE))
def test_slabinfo_has_the_pages_of_the_cache(account: HolderTruth) -> None:
    """The module's cache: no fewer pages than the slabs of its objects."""
    (cache,) = [e for e in entries(account.folder, SLAB_CACHE) if e.name == "oomlab_object"]
    assert cache.amount >= account.pages


@pytest.mark.parametrize("account", each([a for a in HELD if a.kind == "kernel"]))
def test_the_counters_leave_the_holder_among_the_unexplained(account: HolderTruth) -> None:
    """Every page of RAM in one row, and what the module took is in no counter."""
    verdict = oomscope.explain(*found(account.folder).values())
    assert verdict.balance is not None
    assert verdict.balance.is_consistent
    told = sum(row.pages for row in verdict.balance.rows) + verdict.balance.unexplained_pages
    assert told == verdict.balance.ram_pages
    assert verdict.balance.unexplained_pages >= account.pages


SLABS = [a for a in HELD if a.function == "take_kmalloc" and a.has("allocinfo") and a.has("page_owner")]


@pytest.mark.parametrize("account", each(SLABS))
def test_allocinfo_decides_who_holds_a_slab(account: HolderTruth) -> None:
    """Stacks of pages say who grew it, and that is likely; the module's own call site makes it certain."""
    grown = {finding.claim: finding.certainty for finding in oomscope.explain(account.folder).findings}
    holds = [claim for claim, certainty in grown.items() if "holds what it grew" in claim and certainty == "certain"]
    assert len(holds) == 1
    assert holds[0].startswith("take_kmalloc [oomlab] holds what it grew")
