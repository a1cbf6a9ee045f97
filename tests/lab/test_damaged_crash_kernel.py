"""The crash kernel's reader over dead kernels that are damaged: it says what it has, and nothing that cannot be."""

from __future__ import annotations

import random
import struct
import time

import pytest

from oomscope.crash_reader.errors import OtherKernel, Unread
from oomscope.crash_reader.findings import LIST, Findings
from oomscope.crash_reader.plan import CrashPlan
from tests.lab.test_crash_kernel import READ, DumpedMemory
from tests.support.lab_cases import Case, each

DAMAGE = (Unread, OtherKernel, LookupError, ValueError, OverflowError, MemoryError, OSError, struct.error)
WITH_OWNERS = [case for case in READ if case.scenario in ("armed-both-ways", "page-panic") and not case.is_stock]
DAMAGED = [case for case in READ if case.scenario in ("armed-both-ways", "tracked-page-panic") and not case.is_stock]


class _Damaged(DumpedMemory):
    """Memory of which some physical pages are not there, and some have a bit turned over."""

    def __init__(self, case: Case, *, seed: int | None = None, missing: set[int] | None = None) -> None:
        super().__init__(case)
        self._random = None if seed is None else random.Random(seed)
        self._missing = missing or set()

    def into(self, address: int, view: memoryview) -> None:
        """See Core."""
        if any(page in self._missing for page in range(address >> 12, (address + len(view) - 1 >> 12) + 1)):
            raise Unread(f"physical {address:#x} is not in the dump")
        super().into(address, view)
        if self._random is not None and self._random.random() < 0.02:
            at = self._random.randrange(len(view))
            view[at] ^= 1 << self._random.randrange(8)


def found(memory: DumpedMemory, *, most_s: float = 600) -> dict[str, object]:
    findings = Findings(memory, CrashPlan(memory.plan))
    for take in (findings.take_log, lambda: findings.take_pages(time.monotonic(), most_s)):
        try:
            take()
        except DAMAGE as why:
            findings.miss(str(why))
    return findings.told


@pytest.mark.parametrize("case", each(WITH_OWNERS))
def test_where_time_is_over_the_greatest_are_named(case: Case) -> None:
    """With no time at all: the kernel's own count where it keeps one, else that it was stopped; some have names."""
    told = found(DumpedMemory(case), most_s=0)
    if told.get("way") == LIST:
        culprits: list[dict[str, object]] = told["culprits"]  # type: ignore[assignment]
        assert culprits[0]["name"] == "take_page [oomlab]"
        assert told["unnamed_pages"]
    else:
        assert told["is_stopped"]


@pytest.mark.parametrize("case", each(WITH_OWNERS))
def test_a_page_that_is_not_there_is_counted_as_such(case: Case) -> None:
    """One physical page of page_ext is missing: as many entries as it holds are unread, the rest is counted."""
    memory = DumpedMemory(case)
    touched: list[tuple[int, int]] = []
    plain = memory.into

    def noted(address: int, view: memoryview) -> None:
        touched.append((address, len(view)))
        plain(address, view)

    memory.into = noted  # type: ignore[method-assign]
    whole = found(memory)
    address, _ = max(touched, key=lambda each: each[1])
    told = found(_Damaged(case, missing={address >> 12}))
    unread, pages, all_pages = (int(x) for x in (told["unread_pages"], told["pages"], whole["pages"]))  # type: ignore[call-overload]
    assert 0 < unread <= 4096 // 16
    assert 0 <= all_pages - pages <= unread


@pytest.mark.parametrize("case", each(WITH_OWNERS))
def test_without_symbols_nobody_is_blamed(case: Case) -> None:
    """Where kallsyms cannot be read, stacks are told by their pages, and no address answers for anything."""
    memory = DumpedMemory(case)
    memory.vmcoreinfo = {key: told for key, told in memory.vmcoreinfo.items() if "kallsyms" not in key}
    memory.plan["symbols"] = {key: at for key, at in memory.plan["symbols"].items() if "kallsyms" not in key}
    told = found(memory)
    assert told["culprits"] == []
    assert told["pages"] == told["unnamed_pages"]
    assert any("symbols" in each for each in told["missing"])  # type: ignore[attr-defined]


@pytest.mark.parametrize("case", each(WITH_OWNERS))
@pytest.mark.parametrize("off", [4, 8, 16, 64])
def test_a_wrong_place_in_page_ext_names_nobody_for_all_of_it(case: Case, off: int) -> None:
    """page_owner's place is damaged: refused, or the kernel's own count stands, or what is counted has no stack."""
    memory = DumpedMemory(case)
    memory.plan["layout"]["page_owner.handle"] += off
    told = found(memory)
    ram, pages = int(told["ram_pages"]), int(told.get("pages", 0) or 0)  # type: ignore[call-overload]
    assert pages <= ram
    culprits: list[dict[str, int]] = told.get("culprits", [])  # type: ignore[assignment]
    if told.get("way") not in (None, LIST):
        assert sum(each["pages"] for each in culprits) < ram / 4


@pytest.mark.parametrize("case", each(DAMAGED))
@pytest.mark.parametrize("seed", range(12))
def test_turned_bits_end_in_findings_that_can_be(case: Case, seed: int) -> None:
    """Anywhere in what is read: no error that is not known, no more pages than RAM, in a moment."""
    began = time.monotonic()
    try:
        told = found(_Damaged(case, seed=seed))
    except DAMAGE:
        return
    assert time.monotonic() - began < 60
    ram, pages = told.get("ram_pages"), told.get("pages")
    if isinstance(ram, int) and isinstance(pages, int):
        assert 0 <= pages <= ram
