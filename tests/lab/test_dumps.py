"""`oomscope explain` on the memory of guests after they ended, against their own account and the kernel's counters.

A dump is taken when nothing runs any more, so that everything in it is of one moment: no number here is "about" equal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

import oomscope
from lab import build
from lab.kernels import KERNELS
from lab.scenarios import COMPRESSED, CORE_FILES
from oomscope.attribution.culprit import attribute
from oomscope.model.census import Census
from oomscope.model.stack import UNLOADED, Stack
from oomscope.model.verdict import Verdict
from oomscope.report import json_report
from oomscope.sources.vmcore import log_buffer, system
from oomscope.sources.vmcore.opening import open_dump
from tests.support.lab_cases import ACCOUNTS, CASES, Case, HolderTruth, each

Record = Callable[[str, object], None]
LARGEST_SLAB_PAGES = 8  # slub_max_order is 3: what one free within an interrupt gives back

PANIC_MESSAGES = ("System is deadlocked on memory", "Out of memory: system-wide panic_on_oom is enabled")
DUMPED = [case for case in CASES if case.has("core") or case.has("vmcore")]
CORES = [case for case in DUMPED if case.has("core")]
ELF_AND_COMPRESSED = [case for case in CORES if all((case.folder / name).exists() for name in CORE_FILES.values())]
OWNED = [
    case
    for case in CORES
    if case.scenario not in ("page-owner-off", "pipe-panic") and (case.is_tracked or not case.is_stock)
]
PANICKED = [case for case in DUMPED if case.culprit_at_end is not None and (case.is_tracked or not case.is_stock)]
LAST = [a for a in ACCOUNTS if a.module and a.case in OWNED and a.case.end == "alive" and a.has("page_owner")]
LAST = [a for a in LAST if a.folder == a.case.moments[-1] and a.case.scenario != "unloaded-module"]
COUNTED = [case for case in OWNED if case.has("at-rest/show_stacks") or case.has("taken/show_stacks")]
BALLOONS = [case for case in CASES if case.scenario in ("balloon", "tracked-balloon-panic")]
MANY_PATHS = [case for case in OWNED if case.scenario == "many-paths"]
UNLOADED_MODULE = [a for a in ACCOUNTS if a.case.scenario == "unloaded-module"]
NOT_OWNED = [case for case in CORES if case.scenario == "page-owner-off"]
SLAB_OWNERS = [a for a in ACCOUNTS if a.case.scenario == "slab-owners"]
SET_ASIDE = [case for case in CORES if case.scenario == "set-aside"]
TRACED = [account for account in SLAB_OWNERS if account.has("alloc_traces")]
PROFILED = [case for case in OWNED if case.scenario == "slab-cache" and case.has("taken/allocinfo")]
PRINTED = [case for case in CORES if case.kernel.endswith("-witness")]
STOCK = [case for case in CORES if case.kernel == "6.12-debian" and case.scenario == "vmalloc-panic"]
FUNCTIONS_ONLY = ("5.10-bullseye-arm64",)  # no CONFIG_KALLSYMS_ALL: tests/lab/test_structures.py
LIVE = [account for account in ACCOUNTS if account.case.scenario == "live"]
# Asked for as slab, but larger than any cache: whole pages, which the kernel counts as slab all the same.
LARGE_KMALLOC = (
    "kmalloc_large",
    "___kmalloc_large_node",
    "__kmalloc_large_node",
    "kmalloc_order",
    "kmalloc_large_node",
)


def dump_of(case: Case) -> Path:
    """Its core, the ELF one where there are two, or what makedumpfile made."""
    return next(path for name in (*CORE_FILES.values(), "vmcore") if (path := case.folder / name).exists())


def vmlinux_of(case: Case) -> Path:
    """The debug info of the kernel that the case ran on."""
    built = build.cached(next(kernel for kernel in KERNELS if kernel.name == case.kernel))
    assert built is not None
    assert built.vmlinux is not None
    return built.vmlinux


@cache
def evidence_of(case: Case) -> oomscope.Evidence:
    """All that is read from a case's dump."""
    return oomscope.read(dump_of(case))


@cache
def explained(case: Case) -> Verdict:
    """The verdict on a case's dump."""
    return oomscope.explain(dump_of(case))


def census_of(case: Case) -> Census:
    """What each page frame of a case's dump is used for."""
    census = evidence_of(case).latest.reading.census
    assert census is not None
    return census


@pytest.mark.parametrize("case", each(PANICKED))
def test_the_dump_of_a_panic_names_the_culprit(case: Case, record_property: Record) -> None:
    """Whoever took the last of memory stands first, beside the panic's own message; also in makedumpfile's form."""
    verdict = explained(case)
    assert verdict.culprits[0].culprit.function in case.culprits_at_end
    assert verdict.greatest_kernel is not None
    assert verdict.greatest_kernel.holding.culprit == verdict.culprits[0].culprit
    assert verdict.system is not None
    assert any(message in (verdict.system.panic_message or "") for message in PANIC_MESSAGES)
    assert ("page_owner=on" in (verdict.system.command_line or "")) != case.is_tracked
    assert case.scenario == "tracked-pipe-panic" or verdict.system.modules[:1] == ("oomlab",)
    record_property("explained", f"dump: {case.culprit_at_end} {verdict.culprits[0].pages:,}")


@pytest.mark.parametrize("case", each(DUMPED))
def test_the_log_by_vmcoreinfo_alone_is_the_log(case: Case) -> None:
    """Without types and symbols the same text as drgn prints with them."""
    dump = open_dump(dump_of(case))
    assert log_buffer.kernel_log(dump.prog, dump.vmcoreinfo) == system.kernel_log(dump) != b""


@pytest.mark.parametrize("account", each(LAST))
def test_the_dump_has_the_pages_that_the_text_had(account: HolderTruth) -> None:
    """The guest did nothing after its last account: page_owner's text then and the dump give the same pages."""
    from_text = oomscope.explain(account.folder).culprits
    expected = next(row.pages for row in from_text if row.culprit.function == account.function)
    (row,) = (row for row in explained(account.case).culprits if row.culprit.function == account.function)
    assert (row.culprit.module, row.pages) == (account.module, expected)


@pytest.mark.parametrize("case", each([case for case in OWNED if case.scenario != "unloaded-module"]))
def test_stacks_of_a_dump_are_the_texts(case: Case) -> None:
    """Frames are named as %pS names them: stacks that the text shows stand in the dump letter by letter."""
    if not case.moments or not case.has(f"{case.moments[-1].name}/page_owner"):
        pytest.skip("page_owner's text was not captured here: reading it would end this kernel (docs/formats)")
    texts = oomscope.read(case.moments[-1]).latest.counts
    assert texts.pages is not None
    in_dump = set(evidence_of(case).latest.counts.stacks)
    greatest = sorted(zip(texts.pages.tolist(), texts.stacks, strict=True), key=lambda row: -row[0])[:60]
    # What held one page or two may have been freed since, and the loaded module's own frames go with it.
    lost = [stack for pages, stack in greatest if stack not in in_dump and pages > 32]
    # The living kernel names the trampolines of its BPF programs; no table in a dump does.
    named = ("asm_exc_page_fault", "bpf_trampoline_")
    lost = [stack for stack in lost if not any(name in " ".join(stack.texts) for name in named)]
    assert case.end != "alive" or lost == []


@pytest.mark.parametrize("case", each([case for case in CORES if case.kernel not in FUNCTIONS_ONLY]))
def test_the_census_closes_and_equals_the_kernels_counters(case: Case) -> None:
    """Every page frame is in one row, the rows are RAM to the page, each row the kernel's counter of its name."""
    verdict, census = explained(case), census_of(case)
    assert verdict.balance is not None
    assert verdict.balance.unexplained_pages == 0
    pages, counters = census.pages, census.counters
    page_kib = (verdict.system.page_size_bytes if verdict.system else 4096) // 1024
    # Tracking misses a free that interrupts its own program, which the kernel counts: such pages keep their owner.
    missed = evidence_of(case).latest.reading.notes.missed_frees or 0
    assert census.contradictions <= missed * LARGEST_SLAB_PAGES
    assert pages["unread"] == 0
    assert pages["free"] == counters["NR_FREE_PAGES"]
    assert pages["shmem"] == counters["NR_SHMEM"]
    assert pages["file"] + pages["shmem"] == counters["NR_FILE_PAGES"] - counters.get("NR_SWAPCACHE", 0)
    assert pages["page tables"] == counters["NR_PAGETABLE"]
    unmapped = census.parts.get("anon", {}).get("mapped by no process", 0)
    assert pages["anon"] - unmapped == counters["NR_ANON_MAPPED"]
    # A task that has just ended is in no list any more, its stack still counted; with VMAP_STACK each CPU keeps two
    # stacks for the next tasks (kernel/fork.c NR_CACHED_STACKS), not counted any more.
    assert -2 * 2 * 16 <= counters["NR_KERNEL_STACK_KB"] - pages["kernel stacks"] * page_kib <= 16
    slab = counters["NR_SLAB_RECLAIMABLE_B"] + counters["NR_SLAB_UNRECLAIMABLE_B"]
    if census.kernel_stacks is not None and case in OWNED:
        large = sum(n for stack, n in census.kernel_stacks.items() if stack is not None and _is_large(stack))
        early = census.kernel_stacks.get(_early(census), 0)
        assert pages["slab"] + large <= slab <= pages["slab"] + large + early
    if "nr_vmalloc_pages" in counters:
        stacks = pages["kernel stacks"] if case.is_stock else 0
        assert pages["vmalloc"] + stacks == counters["nr_vmalloc_pages"]


def _is_large(stack: Stack) -> bool:
    return any(frame.function in LARGE_KMALLOC for frame in stack.frames)


def _early(census: Census) -> Stack | None:
    """The stack of what was taken before page_owner started: large blocks of kmalloc among it."""
    stacks = census.kernel_stacks or {}
    return next((s for s in stacks if s is not None and s.frames[0].function == "register_early_stack"), None)


# A living guest is stopped anywhere: between a page's entry and the count of its stack, which __set_page_owner() writes
# one after the other, for one block that is being allocated (order 3, the largest that is asked for everywhere).
IN_FLIGHT_PAGES = 8


@pytest.mark.parametrize("case", each(COUNTED))
def test_page_owners_own_count_differs_by_early_pages_only(case: Case) -> None:
    """The scan of all page frames and the kernel's count per stack are equal but for what the kernel does not count."""
    verdict = explained(case)
    (depot,) = (w for w in verdict.witnesses if w.origin.endswith("stack depot"))
    in_flight = [part for part in depot.parts if part.name.startswith("within one dump")]
    assert not in_flight or (case.end == "alive" and abs(sum(part.amount for part in in_flight)) <= IN_FLIGHT_PAGES)
    others = [part for part in depot.parts if part not in in_flight]
    assert {part.name.partition(":")[0] for part in others} <= {"early pages", "page_owner's own pages"}
    assert depot.ours - depot.theirs == sum(part.amount for part in depot.parts)
    for listed in (w for w in verdict.witnesses if w.origin.endswith("stack_list")):
        assert listed.ours - listed.theirs == sum(part.amount for part in listed.parts)


@pytest.mark.parametrize("case", each(PRINTED))
def test_the_dump_has_the_number_that_the_dying_kernel_printed(case: Case) -> None:
    """The walk inside the kernel and ours over its memory agree, stack by stack, to the page."""
    printed = re.search(r"OOM: greatest memory consumer: (\d+) pages", case.text("console.log"))
    assert printed is not None
    verdict = explained(case)
    assert verdict.greatest is not None
    (log,) = (w for w in verdict.witnesses if w.origin.endswith("kernel log"))
    assert (log.ours, log.parts) == (log.theirs, ())
    assert verdict.greatest.pages == int(printed[1])


@pytest.mark.parametrize("case", each(MANY_PATHS))
def test_debug_info_changes_no_number(case: Case) -> None:
    """With a vmlinux and without: the same consumers, culprits and balance; with it, files and lines beside them."""
    without = json_report.to_json(explained(case))
    verdict = oomscope.explain(dump_of(case), vmlinux=vmlinux_of(case))
    with_lines = json_report.to_json(verdict)
    for consumer in with_lines["consumers"] + with_lines["excepted"]:
        consumer.pop("lines", None)
    for rows in (without, with_lines):
        for culprit in rows["culprits"] + [c["culprit"] for c in rows["consumers"] if c["culprit"]]:
            culprit.pop("subsystem")
    for key in ("consumers", "excepted", "culprits", "balance", "counted", "witnesses"):
        assert with_lines[key] == without[key], key
    sources = [f.source for c in verdict.consumers for f in c.holding.stack.frames if f.module is None]
    assert sum(source is not None for source in sources) > 0.9 * len(sources)


@pytest.mark.parametrize("case", each(ELF_AND_COMPRESSED))
def test_qemus_compressed_cores_are_the_same_memory(case: Case) -> None:
    """Flattened and compressed: the same consumers and balance as of the ELF core."""
    verdict = oomscope.explain(case.folder / CORE_FILES[COMPRESSED])
    assert verdict.consumers == explained(case).consumers
    assert verdict.balance == explained(case).balance


@pytest.mark.parametrize("case", each(SET_ASIDE))
def test_memory_with_a_keeper_of_its_own_has_its_row(case: Case) -> None:
    """Compressed pages as the kernel counts them, contiguous and huge pages as many as were asked for."""
    census = census_of(case)
    assert census.pages["zsmalloc"] == census.counters["NR_ZSPAGES"] > 6000  # 401 times 64 KiB that do not compress
    assert census.pages["cma"] == 1009
    assert census.pages["hugetlb"] == 13 * 512


@pytest.mark.parametrize("account", each(UNLOADED_MODULE))
def test_a_leak_outlives_its_module(account: HolderTruth) -> None:
    """Frames of a module that is gone are addresses, named as such; the pages are the module's to the page."""
    verdict = explained(account.case)
    gone = [c for c in verdict.consumers if c.holding.culprit is not None and c.holding.culprit.module == UNLOADED]
    # Loading the module made slabs grow (its files in /proc and /sys), which others share.
    assert sum(consumer.pages for consumer in gone if consumer.holding.kind == "kernel") == account.pages
    assert verdict.system is not None
    assert verdict.system.last_unloaded_module == "oomlab"


@pytest.mark.parametrize("case", each(NOT_OWNED))
def test_without_page_owner_the_census_tells_what_it_can(case: Case) -> None:
    """Hidden pages are counted, vmalloc is named by caller, slabs by cache; that owners are not known is said."""
    verdict, census = explained(case), census_of(case)
    held = {a.function: a.pages for a in ACCOUNTS if a.case == case}
    by_caller = {name.partition("+")[0]: pages for name, pages in census.parts["vmalloc"].items()}
    assert by_caller["take_vmalloc"] == held["take_vmalloc"]
    assert census.parts["slab"]["oomlab_object"] == held["take_object"]
    assert held["take_page"] <= census.pages["kernel"] < held["take_page"] + 2500
    assert verdict.consumers == ()
    assert verdict.partial
    assert any("page_owner is off" in absent.reason for absent in verdict.absent)


@pytest.mark.parametrize("account", each(TRACED))
def test_owners_of_objects_are_the_kernels(account: HolderTruth) -> None:
    """Tracks read from the dump name and count what /sys/kernel/debug/slab/*/alloc_traces did."""
    told = re.findall(r"^ +(\d+) (\S+\+0x\S+(?: \[\w+\])?) ", account.case.text("taken/alloc_traces"), re.MULTILINE)
    (cache,) = (c for c in explained(account.case).cache_objects if c.cache == "oomlab_object")
    found = [(count, stack.texts) for stack, count in cache.owners]
    assert [count for count, _ in found] == [int(count) for count, _ in told]
    assert all(line in texts for (_, line), (_, texts) in zip(told, found, strict=True))


@pytest.mark.parametrize("account", each(SLAB_OWNERS))
def test_tracks_make_a_slab_culprit_certain(account: HolderTruth) -> None:
    """Where every object's owner is on record, the claim on who holds them is certain."""
    (cache,) = (c for c in explained(account.case).cache_objects if c.cache == "oomlab_object")
    ((stack, count),) = cache.owners
    culprit = attribute(stack).culprit  # tracks of kernels before 5.16 begin in the allocator
    assert culprit is not None
    assert (count, culprit.function) == (10007, "take_object")


@pytest.mark.parametrize("case", each(PROFILED))
def test_tags_of_objects_are_allocation_profilings(case: Case) -> None:
    """The tag beside each object, added up, is what /proc/allocinfo says of that line of code."""
    told = re.findall(r"^ *\d+ +(\d+) (\S+) (?:\[\w+\] )?func:take_object", case.text("taken/allocinfo"), re.MULTILINE)
    (cache,) = (c for c in explained(case).cache_objects if c.cache == "oomlab_object")
    ((stack, count),) = cache.owners
    assert told == [(str(count), stack.frames[0].source)]
    findings = [f for f in explained(case).findings if "take_object" in f.claim]
    assert {finding.certainty for finding in findings} == {"certain"}


@pytest.mark.parametrize("case", each(STOCK))
def test_a_distributions_own_kernel_gives_its_census(case: Case) -> None:
    """Debian's image, without page_owner and without debug info: who called vmalloc is named all the same."""
    (first, *_) = census_of(case).parts["vmalloc"].items()
    by_pages = max(census_of(case).parts["vmalloc"].items(), key=lambda item: item[1])
    assert by_pages[0].startswith("take_vmalloc+"), first
    assert any("CONFIG_PAGE_OWNER" in absent.reason for absent in explained(case).absent)


@pytest.mark.parametrize("account", each(LIVE))
def test_the_living_kernel_is_read_through_kcore(account: HolderTruth) -> None:
    """The command ran in the guest itself: the module's pages to the page, and a balance."""
    verdict = json.loads(account.case.text("taken/live.json"))
    (row,) = (row for row in verdict["culprits"] if row["function"] == account.function)
    assert row["pages"] == account.pages
    assert verdict["source"] == "kernel memory"
    assert verdict["kernel"]["live"] is True
    assert (
        verdict["balance"]["ram_pages"]
        == sum(r["pages"] for r in verdict["balance"]["rows"]) + (verdict["balance"]["unexplained_pages"])
    )


def _consistent_moments() -> Iterator[Case]:
    for case in OWNED:
        if case.scenario == "leak-stops-early":
            yield case


@pytest.mark.parametrize("case", each(list(_consistent_moments())))
def test_one_dump_tells_a_leak_that_stopped_from_one_that_goes_on(case: Case) -> None:
    """By allocation times alone: what was taken lately is the slab's, none of it the pages' that stopped before."""
    verdict = explained(case)
    recent = {row.culprit.function: row.recent for row in verdict.culprits}
    stopped, going_on = recent["take_page"], recent["take_object"]
    assert stopped is not None
    assert going_on is not None
    consumers = {c.holding.culprit.function: c for c in verdict.consumers if c.holding.culprit is not None}
    assert (consumers["take_object"].holding.last_ns or 0) > (consumers["take_page"].holding.last_ns or 0)
    assert going_on.pages >= stopped.pages


def test_a_dump_and_the_text_of_the_same_machine_are_two_moments() -> None:
    """Given both, the dump is the later one and is explained; the text shows the growth between them."""
    cases = [c for c in OWNED if c.scenario == "page-panic" and c.kernel == "6.12"]
    if not cases:
        pytest.skip("lab/out has no page-panic on 6.12: `make lab` captures it")
    (case,) = cases
    verdict = oomscope.explain(case.folder / "taken", dump_of(case))
    assert verdict.source == "kernel memory"
    assert verdict.culprits[0].growth is not None
    assert verdict.culprits[0].growth.startswith("+")
    assert verdict.culprits[0].earlier_pages == 40009
    by_itself = replace(verdict.culprits[0], growth=None, earlier_pages=None)
    assert by_itself == replace(explained(case).culprits[0], growth=None)


@pytest.mark.parametrize("case", each(BALLOONS))
def test_what_a_balloon_took_is_no_ram_and_nobodys(case: Case) -> None:
    """The host has it: the leak is named beside a greater balloon, no share is above the whole, the census closes."""
    verdict = explained(case)
    held = {consumer.holding.kind: consumer for consumer in verdict.consumers[::-1]}
    balloon = held["balloon"]
    assert balloon.pages in (200 << 8, 256 << 8)  # MiB, as the scenarios ask of 512 and 768
    assert balloon.share_of_ram is None
    assert verdict.ram_pages is not None
    assert sum(c.pages for c in verdict.consumers if c.holding.kind != "balloon") <= verdict.ram_pages
    assert (verdict.answer.holder, verdict.answer.module) == ("take_page", "oomlab")
    assert verdict.balance is not None
    assert verdict.balance.unexplained_pages >= 0
    assert sum(row.pages for row in verdict.balance.rows) + verdict.balance.unexplained_pages == verdict.ram_pages
    assert not any("inconsistent" in finding.claim for finding in verdict.findings)
