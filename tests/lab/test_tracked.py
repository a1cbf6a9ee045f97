"""Tracked pages in guests: the console, the pinned maps, the dump and page_owner itself say the same."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pytest

import oomscope
from lab.case import held_pages
from oomscope.host.bpf import tracker as tracking
from oomscope.model.diff import CULPRIT
from oomscope.model.holding import Culprit
from oomscope.pipeline.api import compare
from oomscope.sources.tracker import layout
from oomscope.sources.tracker.tracing_frames import is_tracing
from oomscope.sources.vmcore.bpf_code import bpf_code
from oomscope.sources.vmcore.bpf_maps import page_owners
from oomscope.sources.vmcore.modules import modules
from oomscope.sources.vmcore.opening import open_dump
from oomscope.sources.vmcore.page_owner import PageOwner
from oomscope.sources.vmcore.panic_reports import panic_reports
from oomscope.sources.vmcore.sections import sections
from oomscope.sources.vmcore.stack_depot import StackDepot
from oomscope.sources.vmcore.system import kernel_log
from tests.lab.test_dumps import dump_of, evidence_of, explained
from tests.support.lab_cases import CASES, WITHOUT_CASES, Case, each

TRACKED = [case for case in CASES if case.scenario.startswith("tracked-")]
PANICS = [case for case in TRACKED if case.end == "panic" and case.culprit_at_end]
SPOILT = [case for case in TRACKED if case.scenario == "tracked-spoilt-stacks"]
SOUND = [case for case in TRACKED if case not in SPOILT]
KILLS = [case for case in TRACKED if case.scenario == "tracked-kill"]
BESIDE = [
    case
    for case in TRACKED
    if case.scenario in ("tracked-beside-page-owner", "tracked-by-kprobes", "tracked-plugged-in")
]
NESTING = ("5.15-source",)
UNDER_LOAD = [case for case in BESIDE if case.scenario == "tracked-beside-page-owner"]
LIVE = [case for case in TRACKED if case.scenario == "tracked-live"]
KERNEL_ONLY = [case for case in TRACKED if case.scenario == "tracked-kernel-only"]
# What other processors take or give back until the machine has stopped: some slabs of eight pages, order 3. How many
# depends on how long that takes under emulation.
GOES_ON_PAGES = 8 * 8
LEAKED_PAGES = 60 * 53
PLUGGED_IN_PFN = 0x30000000 >> 12
LEFT_OF_FIRST_ZONE_PAGES = 100  # of a process's pages, those that do not come from the zone for movable ones
# What lab/guest/damaged_stacks.py takes away: stacks that find no slot, or are not taken; 5 pages of one written over.
NAMELESS = {
    ("tracked-spoilt-stacks", "take_order_4"): layout.TABLE_FULL,
    ("tracked-spoilt-stacks", "take_unseen"): layout.NO_STACK,
}
WRITTEN_OVER = {("tracked-spoilt-stacks", "take_split"): 5}
TWO_CLOCKS_NS = 10**9  # page_owner's local_clock() and the table's CLOCK_MONOTONIC
MISSED = re.compile(r"missed: ([\d,]+) events inside the programs, ([\d,]+) pages healed")
# Where page_owner's stack has the frame in which ours begins.
ALLOCATORS = (
    "__alloc_pages",
    "__alloc_frozen_pages",
    "alloc_pages_bulk",
    "__alloc_pages_bulk",
    "alloc_frozen_pages_nolock",
    "alloc_contig",
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
    assert explained(case).culprits[0].culprit.function in case.culprits_at_end
    by_culprit = {row.culprit: (row.pages, row.stacks) for row in explained(case).culprits}
    told = console.reading.notes.log.culprits
    first = Culprit(told[0].function, told[0].module, None)
    assert by_culprit[first] == (told[0].pages, told[0].stacks)
    assert first.function in case.culprits_at_end
    for culprit in told[1:]:
        others = by_culprit.get(Culprit(culprit.function, culprit.module, None), (0, 0))
        assert abs(others[0] - culprit.pages) <= GOES_ON_PAGES
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


@pytest.mark.parametrize("case", each(PANICS))
def test_no_stack_begins_in_the_tracing(case: Case) -> None:
    """In the dump: programs and trampolines have names, and every kept stack begins in what asked for the pages."""
    dump = open_dump(dump_of(case))
    table = page_owners(dump, kernel_log(dump))
    assert table is not None
    dump.symbols.add_modules(modules(dump))
    images = list(bpf_code(dump))
    assert any(image.names[0].endswith("_on_alloc") for image in images)
    assert any(image.names[0].startswith("bpf_trampoline_") for image in images)
    dump.symbols.add_modules(images)
    whole = table.stacks[table.stacks["frames"] > 0]
    firsts = {dump.symbols.name(address) for address in np.unique(whole["frame"][:, 0]).tolist()}
    assert not [first for first in firsts if is_tracing(first)]


@pytest.mark.parametrize("case", each(SPOILT))
def test_stacks_that_begin_nowhere_are_told(case: Case) -> None:
    """The guest's script wrote stacks of its own into the table, whose addresses are no code: `--status` says it."""
    told = r"^check: [\d,]+ of [\d,]+ kept stacks begin in the tracing itself"
    assert re.search(told, case.text("status.txt"), re.MULTILINE)


@pytest.mark.parametrize("case", each([case for case in SOUND if (case.folder / "status.txt").exists()]))
def test_the_living_machine_says_where_the_stacks_begin(case: Case) -> None:
    """`arm --status` looks at all of them."""
    told = r"^check: all [\d,]+ kept stacks begin in the page allocator or its caller$"
    assert re.search(told, case.text("status.txt"), re.MULTILINE)


@pytest.mark.parametrize("case", each([case for case in TRACKED if case.end == "panic"]))
def test_every_page_that_the_module_holds_is_owned_by_its_function(case: Case) -> None:
    """Page by page: what the module lists at the last moment, and holds to the end, has a stack that says so.

    Order-0 pages of vmalloc come from alloc_pages_bulk(), which no tracepoint tells of.
    """
    dump = open_dump(dump_of(case))
    table = page_owners(dump, kernel_log(dump))
    assert table is not None
    dump.symbols.add_modules(modules(dump))
    functions: dict[int, set[str]] = {}
    for holder, pfns in held_pages(case.folder / "taken" / "held").items():
        if not holder.startswith("take_"):
            continue
        slots = np.array([int(table.entries(pfn, 1)[0]) >> 16 for pfn in sorted(pfns)])
        if (case.scenario, holder) in NAMELESS:
            assert set(slots.tolist()) == {NAMELESS[case.scenario, holder]}
            continue
        for slot in np.unique(slots[slots >= layout.FIRST_SLOT]).tolist():
            record = table.stacks[slot]
            names = (dump.symbols.name(address) for address in record["frame"][: int(record["frames"])].tolist())
            functions[slot] = {name.partition("+")[0] for name in names}
        wrong = sum(holder not in functions.get(slot, ()) for slot in slots.tolist())
        assert wrong == WRITTEN_OVER.get((case.scenario, holder), 0), holder


@pytest.mark.parametrize("case", each([*PANICS, *SPOILT, *BESIDE]))
def test_the_counts_kept_per_stack_are_the_tables(case: Case) -> None:
    """What is kept while pages come and go is what a walk over the table finds: of each stack, to the page."""
    dump = open_dump(dump_of(case))
    table = page_owners(dump, b"")
    assert table is not None
    kept = table.kept.sum(axis=0)
    assert np.array_equal(kept, table.pages_by_slot())
    assert kept.sum() > 1000


@pytest.mark.parametrize("case", each([*PANICS, *SPOILT, *BESIDE]))
def test_the_table_of_a_stopped_machine_has_as_many_owned_pages_as_were_counted(case: Case) -> None:
    """The audit, exact where nothing moves any more: entries that are set, against what the programs counted."""
    dump = open_dump(dump_of(case))
    table = page_owners(dump, kernel_log(dump))
    assert table is not None
    owned = sum(int(np.count_nonzero(block)) for block in table.blocks())
    assert owned == table.counters.owned_pages > 0


@pytest.mark.parametrize("case", each([case for case in PANICS if case.scenario == "tracked-page-panic"]))
def test_what_tracking_missed_is_told_by_the_kernel(case: Case) -> None:
    """The program's own count is found in the dump; pages that are free and owned are said to be so for that reason."""
    reading = evidence_of(case).latest.reading
    assert reading.notes.missed_frees is not None
    assert reading.census is not None
    claims = [finding.claim for finding in explained(case).findings]
    assert not any("inconsistent" in claim for claim in claims)
    assert any("still have their last owner" in claim for claim in claims) is bool(reading.census.contradictions)


@pytest.mark.parametrize("case", each(KERNEL_ONLY))
def test_user_memory_is_left_out_and_counted(case: Case) -> None:
    """The file's pages stand among those left out, which the console tells; what has a stack are the nodes it takes."""
    (report,) = panic_reports(open_dump(dump_of(case)))
    assert report.left_out_pages >= 20011
    assert f"{report.left_out_pages} user memory" in case.text("console.log")
    assert sum(row.pages for row in explained(case).culprits if row.culprit.function.startswith("shmem")) < 500


def tail(frames: list[str], *, of_page_owner: bool) -> tuple[str, ...]:
    """The callers of the page allocator: what stands outside the last frame of its own.

    A function that a program is attached to stands twice, a trampoline without a name between.
    """
    if not of_page_owner:
        return tuple(frames[1:])
    names = [frame.partition("+")[0] for frame in frames]
    of_allocator = [
        at for at, name in enumerate(names) if name.startswith(ALLOCATORS) and not name.startswith(NOT_ALLOCATORS)
    ]
    if not of_allocator:
        return tuple(frames[1:])
    last = of_allocator[0]
    while (
        names[last + 1 : last + 2] and names[last + 1].startswith("0x") and names[last + 2 : last + 3] == [names[last]]
    ):
        last += 2
    return tuple(frames[last + 1 :])


@dataclass
class Compared:
    """page_owner's records beside the table's entries of one stopped machine, in pages."""

    same: int = 0
    differ: Counter[tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=Counter)
    unseen: Counter[tuple[str, ...]] = field(default_factory=Counter)  # younger than tracking, and without an entry
    beyond: int = 0  # the same, where the table does not reach
    at_a_time: dict[tuple[str, ...], int] = field(default_factory=dict)  # the pages of one allocation, by its callers

    def events(self, pages_by_callers: Iterable[tuple[tuple[str, ...], int]]) -> int:
        """How many allocations or frees such pages are at least: one of a kernel stack alone has four pages."""
        return sum(-(-pages // self.at_a_time.get(callers, 1)) for callers, pages in pages_by_callers)


def compared(case: Case) -> Compared:
    """Page by page.

    page_owner keeps as many frames as the table does and spends some on its own: its outermost ones are cut.
    """
    dump = open_dump(dump_of(case))
    table = page_owners(dump, kernel_log(dump))
    assert table is not None
    owner, depot = PageOwner(dump), StackDepot(dump)
    theirs: dict[int, tuple[str, ...]] = {0: ()}
    ours: dict[int, tuple[str, ...]] = {}
    found = Compared()

    def names(handle: int) -> tuple[str, ...]:
        if handle not in theirs:
            theirs[handle] = tuple(dump.symbols.name(a) for a in depot.return_addresses(handle) or ())
        return theirs[handle]

    for section in sections(dump):
        entries = owner.entries(section)
        if entries is None or entries.handle_of_frame is None:
            continue
        slots = table.entries(section.start_pfn, section.pages) >> np.uint32(16)
        tracked = slots >= layout.FIRST_SLOT
        assert entries.allocated_ns is not None
        for handle, pages in np.unique(np.stack((entries.handle, entries.pages), axis=1), axis=0).tolist():
            callers = tail(list(names(handle)), of_page_owner=True)
            found.at_a_time[callers] = max(pages, found.at_a_time.get(callers, 1))
        later = entries.allocated_ns > table.since_ns + TWO_CLOCKS_NS
        unseen = later & (slots[entries.frame] == 0)
        if is_beyond(table, section.start_pfn):
            found.beyond += int(entries.pages[unseen].sum())
        else:
            for handle, pages in zip(
                entries.handle_of_frame[entries.frame[unseen]].tolist(), entries.pages[unseen].tolist(), strict=True
            ):
                found.unseen[tail(list(names(handle)), of_page_owner=True)] += pages
        pairs, counts = np.unique(
            entries.handle_of_frame[tracked].astype(np.uint64) << np.uint64(32) | slots[tracked], return_counts=True
        )
        for pair, pages in zip(pairs.tolist(), counts.tolist(), strict=True):
            handle, slot = pair >> 32, pair & 0xFFFFFFFF
            if slot not in ours:
                record = table.stacks[slot]
                frames = record["frame"][: int(record["frames"])].tolist()
                ours[slot] = tail([dump.symbols.name(a) for a in frames], of_page_owner=False)
            said = tail(list(names(handle)), of_page_owner=True)
            common = min(len(said), len(ours[slot]))
            if any("set_page_owner" in name for name in ours[slot]):
                continue  # what page_owner takes for itself has its dummy stack
            if handle and said[:common] == ours[slot][:common]:
                found.same += pages
            else:
                found.differ[said, ours[slot]] += pages
    return found


def is_beyond(table: layout.PageOwners, pfn: int) -> bool:
    """Whether the table has no block for a page."""
    block = pfn // layout.BLOCK_PAGES
    return block >= len(table.places) or not table.places[block]


@pytest.mark.parametrize("case", each(BESIDE))
def test_page_owner_says_the_same_of_every_page(case: Case) -> None:
    """Whatever has an owner in the table has the same callers on page_owner's record, and the other way.

    Pages that differ, or that only page_owner has since tracking began, come from no more events than the kernel says
    it passed over; and what the scenario leaves out is left out, and nothing else.
    """
    found = compared(case)
    if case.scenario == "tracked-by-kprobes":  # with page_owner on, alloc_pages_bulk() gives out single pages
        assert "not covered on this kernel: alloc_pages_bulk()" in case.text("status.txt")
    if case.scenario == "tracked-plugged-in":
        assert found.beyond >= 10007 - LEFT_OF_FIRST_ZONE_PAGES
    else:
        assert found.beyond == 0
    assert found.same > 20_000
    differ = ((ours, pages) for (_, ours), pages in found.differ.items())
    assert found.events(found.unseen.items()) <= missed_events(case), found.unseen.most_common(5)
    assert found.events(differ) <= missed_events(case), found.differ.most_common(5)


@pytest.mark.parametrize("case", each([case for case in BESIDE if case.scenario == "tracked-plugged-in"]))
def test_memory_that_came_later_is_counted_and_contiguous_memory_is_owned(case: Case) -> None:
    """The process's pages in memory that was plugged in are counted as beyond the table; CMA's have their caller."""
    held = held_pages(case.folder / "taken" / "held")["anon"]
    beyond = sum(pfn >= PLUGGED_IN_PFN for pfn in held)
    (counted,) = re.findall(r"([\d,]+) allocations of pages that were added", case.text("status.txt"))
    assert 0 < beyond <= number(counted)
    dump = open_dump(dump_of(case))
    table = page_owners(dump, kernel_log(dump))
    assert table is not None
    by_cma = 0
    for slot in range(layout.FIRST_SLOT, len(table.stacks)):
        frames = table.stacks[slot]["frame"][: int(table.stacks[slot]["frames"])].tolist()
        if any("cma_alloc" in dump.symbols.name(address) for address in frames):
            by_cma += sum(int(np.count_nonzero(block >> np.uint32(16) == slot)) for block in table.blocks())
    assert by_cma == 1009


@pytest.mark.parametrize("case", each(UNDER_LOAD))
def test_what_was_missed_is_counted_and_heals(case: Case) -> None:
    """Interrupts that allocate inside the programs are passed over, and counted by the kernel; the audit holds."""
    status = case.text("status.txt")
    # Up to 6.0 a tracepoint's programs run within each other, and nothing is passed over (kernel/trace/bpf_trace.c).
    assert (missed_events(case) > 0) is (case.kernel not in NESTING)
    assert "audit: the table and its counters agree" in status
    assert number(re.findall(r"since then: ([\d,]+) pages allocated", status)[0]) > 5_000_000


def test_compaction_moved_owned_pages() -> None:
    """On one kernel at least: how much there is to compact is the guest's own affair."""
    if not BESIDE:
        pytest.skip(WITHOUT_CASES)
    assert any(number(re.findall(r"([\d,]+) moved", case.text("status.txt"))[0]) for case in BESIDE)


@pytest.mark.parametrize("case", each(LIVE))
def test_top_names_the_slow_leak_and_not_the_churn(case: Case) -> None:
    """53 pages a second beside tens of thousands taken and given back: within a minute nothing in the kernel grew more.

    Process memory and page cache, which are one row each, may: the guest starts processes and reads files.
    """
    boards = [json.loads(line) for line in case.text("top.json").splitlines()]
    assert boards[-1]["source"] == "tracked pages"
    (leaked,) = (row["pages"] for row in boards[-1]["rows"] if row["name"] == "take_page [oomlab]")
    assert leaked == LEAKED_PAGES
    within_a_minute = [board for board in boards if board["since_s"] <= 60][-1]
    in_kernel = [row for row in within_a_minute["rows"] if row["name"] not in ("(user)", "(page-cache)")]
    leak = in_kernel[0]
    assert leak["name"] == "take_page [oomlab]"
    assert leak["change"] > 10 * in_kernel[1]["change"]
    churned = [row for row in in_kernel if row["name"].startswith("churn_")]
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


@pytest.mark.parametrize("case", each(SPOILT))
def test_no_page_goes_to_a_wrong_stack_in_a_spoilt_table(case: Case) -> None:
    """Each trouble is counted as often as it was brought about, and every page still has its own stack or none.

    The first block of take_split went to the stack that was written over its own: what the table says is believed.
    """
    told = json.loads(case.text("spoilt.json"))
    assert (told["collisions"], told["slot_races"], told["without_stack"]) == (101, 103, 109)
    assert told["beyond_stacks"] >= 7  # others find no slot either
    status = case.text("status.txt")
    assert re.search(r"found no room \([\d,]+ times\); 101 collisions, 103 races for a slot", status)
    assert "109 pages whose stack could not be taken" in status
    assert "audit: the table and its counters agree" in status
    (report,) = panic_reports(open_dump(dump_of(case)))
    assert f"109 without a stack, {report.lost_pages} beyond the table" in case.text("console.log")
    assert report.lost_pages > 7 * 16  # what takes the last of memory has no slot, either
    pages = {row.culprit.function: row.pages for row in explained(case).culprits}
    assert pages["take_split"] == 101 * 5
    assert pages["take_order_3"] == (103 + 1) * 8
    assert not {"take_order_4", "take_unseen"} & pages.keys()
    assert "take_compound" not in pages


@pytest.mark.parametrize("case", each(KILLS))
def test_a_kill_is_reported_from_the_table(case: Case) -> None:
    """With --on kill the map has the report, which --status prints and --live takes for an earlier moment."""
    status = case.text("status.txt")
    assert re.search(r"memory consumer #2: 20011 pages are allocated from:", status)
    assert re.search(r"OOM: tracked since [\d.]+ s; \d+ pages were allocated before that", status)
    live = json.loads(case.text("live.json"))
    assert any("report of OOM kill 1" in told["origin"] for told in live["inputs"])


HASH_ELEMENTS = 4096 + 2048  # MOST_ADDRESSES and MOST_FUNCTIONS of culprits.h
HASH_ELEMENT_BYTES = 48 + 16  # kernel/bpf/hashtab.c: struct htab_elem without key and value, and its bucket


@pytest.mark.parametrize("case", each([*PANICS, *KILLS]))
def test_the_cost_told_before_is_the_cost_measured_after(case: Case) -> None:
    """What `arm` says that the maps will take, and what the kernel says that they take: equal within a twentieth.

    Kernels before 6.4 tell a hash's keys and values without the kernel's own part of each element.
    """
    told, measured = (
        float(re.findall(pattern, case.text("arm.txt"))[0])
        for pattern in (r"tracking takes ([\d.]+) MiB", r"its maps take ([\d.]+) MiB")
    )
    before_6_4 = tuple(int(number) for number in re.findall(r"\d+", case.kernel)[:2]) < (6, 4)
    untold = HASH_ELEMENTS * HASH_ELEMENT_BYTES / 2**20 if before_6_4 else 0
    assert abs(told - untold - measured) <= told / 20 + 0.1  # both are printed to a tenth
    assert re.search(r"a page fault takes [\d.]+ us, [\d.]+ us before", case.text("arm.txt"))


COSTS = [case for case in CASES if case.scenario == "tracked-cost"]
APART = 0.1  # of the medians of two runs of the lab, under emulation


@pytest.mark.parametrize("case", each(COSTS))
def test_page_faults_take_as_much_longer_as_is_told_before(case: Case) -> None:
    """What `arm` says before it starts, against the same guest without tracking."""
    times = {mode: loads["page_faults"] for mode, loads in json.loads(case.text("cost.json")).items()}
    assert times["all"] / times["off"] == pytest.approx(tracking.FAULTS_OF_ALL, rel=APART)
    assert times["kernel-only"] / times["off"] == pytest.approx(tracking.FAULTS_OF_KERNEL_ONLY, rel=APART)


@pytest.mark.parametrize("case", each(COSTS))
def test_tracking_all_is_no_dearer_than_page_owner_on_page_faults(case: Case) -> None:
    """The load that is nothing but allocations: two guests, one after the other, under emulation."""
    (other,) = (each for each in CASES if (each.kernel, each.scenario) == (case.kernel, "page-owner-cost"))
    tracked, by_page_owner = (json.loads(each.text("cost.json")) for each in (case, other))
    assert tracked["all"]["page_faults"] <= by_page_owner["page_owner"]["page_faults"]


@pytest.mark.parametrize("case", each([case for case in PANICS if case.scenario == "tracked-many-paths-panic"]))
def test_a_module_loaded_after_arming_answers_and_is_told(case: Case) -> None:
    """Its addresses were unknown when the program was armed: it is named all the same, and the console says so."""
    console = oomscope.read(case.folder / next(p.name for p in case.folder.glob("console.log*"))).latest
    log = console.reading.notes.log
    assert log.culprits[0].module == "oomlab"
    assert log.later_pages >= log.culprits[0].pages
