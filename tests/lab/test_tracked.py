"""Tracked pages in guests: the console, the pinned maps, the dump and page_owner itself say the same."""

from __future__ import annotations

import json
import re
from collections import Counter

import numpy as np
import pytest

import oomscope
from oomscope.model import owners
from oomscope.model.difference import CULPRIT
from oomscope.pipeline import compare
from oomscope.sources.kernel_memory.dump import open_dump
from oomscope.sources.kernel_memory.owner_maps import page_owners
from oomscope.sources.kernel_memory.page_owner import PageOwner
from oomscope.sources.kernel_memory.panic_reports import panic_reports
from oomscope.sources.kernel_memory.sections import sections
from oomscope.sources.kernel_memory.stack_depot import StackDepot
from oomscope.sources.kernel_memory.system import kernel_log
from tests.lab.cases import CASES, WITHOUT_CASES, Case, each
from tests.lab.test_dumps import dump_of, explained

TRACKED = [case for case in CASES if case.scenario.startswith("tracked-")]
PANICS = [case for case in TRACKED if case.end == "panic"]
BESIDE = [case for case in TRACKED if case.scenario == "tracked-beside-page-owner"]
LIVE = [case for case in TRACKED if case.scenario == "tracked-live"]
KERNEL_ONLY = [case for case in TRACKED if case.scenario == "tracked-kernel-only"]
GOES_ON_PAGES = 16
LEAKED_PAGES = 60 * 53
TWO_CLOCKS_NS = 10**9  # page_owner's local_clock() and the table's CLOCK_MONOTONIC
MISSED = re.compile(r"missed: ([\d,]+) events inside the programs, ([\d,]+) pages healed")
# Where page_owner's stack has the frame in which ours begins.
ALLOCATORS = (
    "__alloc_pages",
    "__alloc_frozen_pages",
    "alloc_pages_bulk",
    "__alloc_pages_bulk",
    "alloc_frozen_pages_nolock",
)
NOT_ALLOCATORS = ("__alloc_pages_slowpath", "__alloc_pages_direct", "__alloc_pages_may_oom")


def number(text: str) -> int:
    return int(text.replace(",", ""))


def missed_events(case: Case) -> int:
    """Events that the kernel passed over, by its own counters."""
    found = MISSED.search(case.text("status.txt"))
    assert found is not None
    return number(found[1])


@pytest.mark.parametrize("case", each(PANICS))
def test_the_dying_console_says_what_the_table_in_the_dump_says(case: Case) -> None:
    """The module's stacks hold, to the page, what their entries say in the dump; the culprit is first; nothing is lost.

    Other processors go on between the report and the stop of the machine: other stacks may differ by the few pages that
    are allocated and freed in those milliseconds.
    """
    (report,) = panic_reports(open_dump(dump_of(case)))
    console = oomscope.read(case.folder / next(p.name for p in case.folder.glob("console.log*"))).latest
    in_dump = {consumer.holding.stack: consumer.pages for consumer in explained(case).consumers}
    assert console.counts.pages is not None
    for stack, pages in zip(console.counts.stacks, console.counts.pages.tolist(), strict=True):
        by_module = any(frame.module == "oomlab" for frame in stack.frames)
        assert abs(in_dump.get(stack, 0) - pages) <= (0 if by_module else GOES_ON_PAGES)
    assert explained(case).culprits[0].culprit.function == case.culprit_at_end
    assert console.totals is not None
    assert console.totals.older_pages == report.older_pages > 0
    assert abs((console.totals.tracked_since_ns or 0) - report.since_ns) < 1000  # it is printed in microseconds
    assert (report.lost_pages, report.nameless_pages, report.stopped) == (0, 0, False)


@pytest.mark.parametrize("case", each([case for case in PANICS if case.scenario == "tracked-page-panic"]))
def test_the_doctor_proposes_it_and_the_living_machine_tells_of_it(case: Case) -> None:
    """Without page_owner `doctor` names the command; after it `explain --live` has the module's own count."""
    assert "oomscope arm --track" in case.text("doctor.txt")
    live = json.loads(case.text("taken/live.json"))
    pages = {row["function"]: row["pages"] for row in live["culprits"]}
    assert pages["take_page"] == json.loads(case.text("truth.json"))["moments"]["taken"][0]["pages"]


@pytest.mark.parametrize("case", each([*PANICS, *BESIDE]))
def test_the_table_of_a_stopped_machine_has_as_many_owned_pages_as_were_counted(case: Case) -> None:
    """The audit, exact where nothing moves any more: entries that are set, against what the programs counted."""
    dump = open_dump(dump_of(case))
    table = page_owners(dump, kernel_log(dump))
    assert table is not None
    owned = sum(int(np.count_nonzero(block)) for block in table.blocks())
    assert owned == table.counters.owned_pages > 0


@pytest.mark.parametrize("case", each(KERNEL_ONLY))
def test_user_memory_is_left_out_and_counted(case: Case) -> None:
    """The file's pages stand among those left out, which the console tells; what has a stack are the nodes it takes."""
    (report,) = panic_reports(open_dump(dump_of(case)))
    assert report.left_out_pages >= 20011
    assert f"{report.left_out_pages} user memory" in case.text("console.log")
    assert sum(row.pages for row in explained(case).culprits if row.culprit.function.startswith("shmem")) < 500


def tail(frames: list[str], *, of_page_owner: bool) -> tuple[str, ...]:
    """The callers of the page allocator: what stands outside the last frame of its own."""
    first = 0
    if of_page_owner:
        names = [frame.partition("+")[0] for frame in frames]
        of_allocator = [
            at for at, name in enumerate(names) if name.startswith(ALLOCATORS) and not name.startswith(NOT_ALLOCATORS)
        ]
        first = of_allocator[0] if of_allocator else 0
    return tuple(frames[first + 1 :])


@pytest.mark.parametrize("case", each(BESIDE))
def test_page_owner_says_the_same_of_every_page(case: Case) -> None:
    """Page by page: whatever has an owner in the table has the same callers on page_owner's record, and the other way.

    Pages that differ, or that only page_owner has since tracking began, are no more than the events that the kernel
    says it passed over. page_owner keeps as many frames as the table does and spends some on its own, so that its
    outermost ones are cut.
    """
    dump = open_dump(dump_of(case))
    table = page_owners(dump, kernel_log(dump))
    assert table is not None
    owner, depot = PageOwner(dump), StackDepot(dump)
    theirs: dict[int, tuple[str, ...]] = {}
    ours: dict[int, tuple[str, ...]] = {}
    differ: Counter[tuple[tuple[str, ...], tuple[str, ...]]] = Counter()
    same = unseen = 0
    for section in sections(dump):
        entries = owner.entries(section)
        if entries is None or entries.handle_of_frame is None:
            continue
        slots = table.entries(section.start_pfn, section.pages) >> np.uint32(16)
        tracked = slots >= owners.FIRST_SLOT
        assert entries.allocated_ns is not None
        later = entries.allocated_ns > table.since_ns + TWO_CLOCKS_NS
        unseen += int(entries.pages[later & (slots[entries.frame] == 0)].sum())
        pairs, counts = np.unique(
            entries.handle_of_frame[tracked].astype(np.uint64) << np.uint64(32) | slots[tracked], return_counts=True
        )
        for pair, pages in zip(pairs.tolist(), counts.tolist(), strict=True):
            handle, slot = pair >> 32, pair & 0xFFFFFFFF
            if handle not in theirs:
                addresses = depot.return_addresses(handle) if handle else None
                theirs[handle] = tail([dump.symbols.name(a) for a in addresses or ()], of_page_owner=True)
            if slot not in ours:
                record = table.stacks[slot]
                frames = record["frame"][: int(record["frames"])].tolist()
                ours[slot] = tail([dump.symbols.name(a) for a in frames], of_page_owner=False)
            common = min(len(theirs[handle]), len(ours[slot]))
            if handle and theirs[handle][:common] == ours[slot][:common]:
                same += pages
            else:
                differ[theirs[handle], ours[slot]] += pages
    assert same > 30_000
    assert unseen <= missed_events(case)
    assert sum(differ.values()) <= missed_events(case), differ.most_common(5)


@pytest.mark.parametrize("case", each(BESIDE))
def test_what_was_missed_is_counted_and_heals(case: Case) -> None:
    """Interrupts that allocate inside the programs are passed over, and counted by the kernel; the audit holds."""
    status = case.text("status.txt")
    assert missed_events(case) > 0
    assert "audit: the table and its counters agree" in status
    assert number(re.findall(r"since then: ([\d,]+) pages allocated", status)[0]) > 5_000_000


def test_compaction_moved_owned_pages() -> None:
    """On one kernel at least: how much there is to compact is the guest's own affair."""
    if not BESIDE:
        pytest.skip(WITHOUT_CASES)
    assert any(number(re.findall(r"([\d,]+) moved", case.text("status.txt"))[0]) for case in BESIDE)


@pytest.mark.parametrize("case", each(LIVE))
def test_top_names_the_slow_leak_and_not_the_churn(case: Case) -> None:
    """53 pages a second beside tens of thousands taken and given back: within a minute the leak has grown most."""
    boards = [json.loads(line) for line in case.text("top.json").splitlines()]
    last = boards[-1]
    assert last["source"] == "tracked pages"
    culprits = [row for row in last["rows"] if row["name"].endswith("[oomlab]")]
    assert culprits[0]["name"] == "take_page [oomlab]"
    (leak,) = (row for row in culprits if row["name"].startswith("take_page"))
    assert leak["pages"] == LEAKED_PAGES
    churned = [row for row in culprits if row["name"].startswith("churn_")]
    assert churned
    for row in churned:
        assert abs(row["change"]) < leak["change"] / 10
        assert row["age_s"] is None or row["age_s"] < leak["age_s"]  # None: it holds nothing at that moment


@pytest.mark.parametrize("case", each(LIVE))
def test_live_and_collected_say_what_the_module_says(case: Case) -> None:
    """`explain --live` in the guest, and the archive explained here, both give the leak its pages."""
    live = json.loads(case.text("taken/live.json"))
    pages = {(row["function"], row["module"]): row["pages"] for row in live["culprits"]}
    assert pages["take_page", "oomlab"] == LEAKED_PAGES
    collected = oomscope.explain(case.folder / "taken" / "case.tar.zst")
    (row,) = (row for row in collected.culprits if row.culprit.function == "take_page")
    assert row.pages == LEAKED_PAGES


@pytest.mark.parametrize("case", each(LIVE))
def test_two_archives_differ_by_the_leak(case: Case) -> None:
    """`diff` of an archive from before and one from after."""
    difference = compare(case.folder / "early.tar.zst", case.folder / "taken" / "case.tar.zst")
    (change,) = (change for change in difference.of(CULPRIT) if change.name == "take_page [oomlab]")
    assert change.change_pages == LEAKED_PAGES


@pytest.mark.parametrize("case", each(LIVE))
def test_disarming_leaves_nothing(case: Case) -> None:
    """The pins are gone, and every setting went back; arming twice was refused."""
    assert "which arm did not write" not in case.text("console.log")
    assert case.text("disarm.txt") == "disarmed\n"
    assert case.text("after.pins") == case.text("before.pins")
    assert case.text("refused.twice").endswith("exit 4\n")


COSTS = [case for case in CASES if case.scenario == "tracked-cost"]


@pytest.mark.parametrize("case", each(COSTS))
def test_tracking_all_is_no_dearer_than_page_owner_on_page_faults(case: Case) -> None:
    """The load that is nothing but allocations: two guests, one after the other, under emulation."""
    (other,) = (each for each in CASES if (each.kernel, each.scenario) == (case.kernel, "page-owner-cost"))
    tracked, by_page_owner = (json.loads(each.text("cost.json")) for each in (case, other))
    assert tracked["all"]["page_faults"] <= by_page_owner["page_owner"]["page_faults"]
