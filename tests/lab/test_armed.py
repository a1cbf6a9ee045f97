"""The reporter on the OOM path, put there by `oomscope arm` in the guest: what it prints is what the dump says."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest

import oomscope
from oomscope.model.evidence import Evidence
from oomscope.model.verdict import Verdict
from oomscope.sources.vmcore.arrays import column
from oomscope.sources.vmcore.opening import open_dump
from oomscope.sources.vmcore.panic_reports import panic_reports
from oomscope.sources.vmcore.sections import sections
from oomscope.sources.vmcore.stack_depot import StackDepot
from oomscope.sources.vmcore.stack_list import listed_handles
from tests.lab.test_dumps import dump_of, evidence_of, explained
from tests.support.lab_cases import CASES, WITHOUT_CASES, Case, each

Record = Callable[[str, object], None]

ARMED = [case for case in CASES if case.scenario.startswith("armed-")]
PSTORE = [case for case in ARMED if case.scenario == "armed-pstore"]
NOT_WHOLE = ("armed-stopped", "armed-pstore", "armed-sampled")
WHOLE = [case for case in ARMED if case.end == "panic" and case.scenario not in NOT_WHOLE]
ALONE = [case for case in WHOLE if case.scenario != "armed-both-ways" and not case.kernel.endswith("-witness")]
BLAMED = [case for case in WHOLE if case.culprit_at_end is not None]
WITNESSED = [case for case in WHOLE if case.kernel.endswith("-witness")]
REFUSED = [case for case in CASES if case.scenario in ("arm-refused", "arm-locked-down", "arm-too-old")]
REFUSALS = {
    "without-bpffs": "no bpffs is mounted at /sys/fs/bpf; mount -t bpf bpf /sys/fs/bpf",
    "without-btf": "the kernel has no type information, /sys/kernel/btf/vmlinux (CONFIG_DEBUG_INFO_BTF)",
    "without-addresses": "/proc/kallsyms shows no addresses; sysctl kernel.kptr_restrict=1",
    "without-page-owner": "page_owner is off; boot with page_owner=on",
    "confidentiality": "the kernel is locked down (confidentiality): no program may read its memory;"
    " boot with lockdown=integrity, which is enough for Secure Boot",
    "too-old": "this kernel has no way to count pages per stack from BPF:"
    " no bpf_for_each_map_elem() (it came with 5.13); set up kdump, and read its dump with `oomscope explain vmcore`",
    "twice": "it is armed already; oomscope arm --status; oomscope disarm first",
}
WITHOUT_LIST = ("6.1", "5.15-source")  # page_owner's stack_list came with 6.9
GREATEST = re.compile(r"OOM: greatest memory consumer: (\d+) pages are allocated from:")
WALKED = re.compile(r"OOM: walked (\d+) (pages|stacks) in (\d+) us(?:, (\d+) us of them for culprits)?")
WALK_TOOK = re.compile(r"(\d+)us : bpf_trace_printk: OOM: walked \d+ (?:pages|stacks) in (\d+) us")
STAMPS = ("ts_nsec", "free_ts_nsec")  # struct page_owner has both from 5.13 on, before any kernel that can be armed
BLOCK_PAGES = 512  # bpf/panic_report.bpf.c
REPORT = ": report of the OOM panic"


def of(scenario: str, cases: list[Case] = CASES) -> list[Case]:
    return [case for case in cases if case.scenario == scenario]


def console_lines(case: Case, *, by_program: bool) -> str:
    """What the program on the OOM path printed, or what a witness kernel did."""
    lines = case.text("console.log").splitlines()
    return "\n".join(line for line in lines if ("bpf_trace_printk" in line) is by_program)


def pages_changed_since_report(case: Case) -> int:
    """Pages that page_owner stamps as allocated or freed after the walk began, by the clock of the trace."""
    at_us, took_us = WALK_TOOK.findall(console_lines(case, by_program=True))[-1]
    began_ns = (int(at_us) - int(took_us)) * 1000
    dump = open_dump(dump_of(case))
    entry_bytes, at = int(dump.prog["page_ext_size"]), int(dump.prog["page_owner_ops"].offset)
    stamps = [member for member in dump.prog.type("struct page_owner").members if member.name in STAMPS]
    assert len(stamps) == len(STAMPS)
    changed = 0
    for section in sections(dump):
        assert section.page_ext_at is not None
        rows = dump.bytes_at(section.page_ext_at, section.pages * entry_bytes).reshape(section.pages, entry_bytes)
        late = [column(rows, at + member.bit_offset // 8, np.int64) >= began_ns for member in stamps]
        changed += int(np.count_nonzero(np.any(late, axis=0)))
    return changed


@cache
def printed(case: Case) -> Evidence:
    """The console as explain reads it; the last report in it is the program's, which panic() prints at its end."""
    return oomscope.read(case.folder / next(p.name for p in case.folder.glob("console.log*")))


@pytest.mark.parametrize("case", each(WHOLE))
def test_the_dying_console_says_what_the_dump_says(case: Case, record_property: Record) -> None:
    """Each stack on the console holds the pages that the dump's scan gives it, to the page; the greatest is first."""
    verdict = explained(case)
    in_dump = {consumer.holding.stack: consumer.pages for consumer in verdict.consumers}
    counts = printed(case).latest.counts
    assert counts.pages is not None
    assert len(counts.stacks) == int(re.findall(r"(\d+) printed", case.text("arm.txt"))[0])
    rows = zip(counts.stacks, counts.pages.tolist(), strict=True)
    differences = [in_dump[stack] - pages for stack, pages in rows if in_dump[stack] != pages]
    assert sum(map(abs, differences)) <= (pages_changed_since_report(case) if differences else 0)
    assert verdict.greatest is not None
    assert int(counts.pages.max()) == verdict.greatest.pages
    greatest = {
        stack for stack, pages in in_dump.items() if pages == verdict.greatest.pages
    }  # many ways may hold as many
    assert greatest & set(counts.stacks)
    record_property("explained", f"console: {name(verdict)} {verdict.greatest.pages:,}")


def name(verdict: Verdict) -> str:
    assert verdict.greatest is not None
    culprit = verdict.greatest.holding.culprit
    return culprit.function if culprit is not None else f"{verdict.greatest.holding.kind} memory"


@pytest.mark.parametrize("case", each(BLAMED))
def test_the_dying_console_names_the_culprit(case: Case) -> None:
    """Who took the last of memory is the culprit of the greatest stack printed."""
    verdict = oomscope.explain(case.folder / next(p.name for p in case.folder.glob("console.log*")))
    assert verdict.greatest is not None
    assert verdict.greatest.holding.culprit is not None
    assert verdict.greatest.holding.culprit.function in case.culprits_at_end


def culprits_of(verdict: Verdict) -> dict[str, tuple[int, int]]:
    """Pages and stacks of each."""
    return {str(row.culprit): (row.pages, row.stacks) for row in verdict.culprits}


@pytest.mark.parametrize("case", each([case for case in WHOLE if not case.kernel.endswith("-witness")]))
def test_the_dying_console_adds_up_culprits_as_the_dump_does(case: Case, record_property: Record) -> None:
    """The greatest culprits over all their stacks: the program decides as the engine does on the dump, to the page.

    The console names the greatest first, and `explain` says of it what it says of the dump.
    """
    verdict = explained(case)
    in_dump, told = culprits_of(verdict), printed(case).latest.reading.notes.log.culprits
    assert [each.pages for each in told] == sorted((each.pages for each in told), reverse=True)
    differences = 0
    for each_told in told:
        name = each_told.function if each_told.module is None else f"{each_told.function} [{each_told.module}]"
        pages, stacks = in_dump[name]
        differences += abs(pages - each_told.pages)
        assert pages != each_told.pages or stacks == each_told.stacks
    assert differences <= (pages_changed_since_report(case) if differences else 0)
    on_console = culprits_of(oomscope.explain(case.folder / next(p.name for p in case.folder.glob("console.log*"))))
    first = str(verdict.culprits[0].culprit)
    assert next(iter(on_console)) == first
    record_property("explained", f"console: {first} {told[0].pages:,} through {told[0].stacks}")


@pytest.mark.parametrize("case", each(of("armed-many-paths-panic")))
def test_a_culprit_of_many_paths_is_named_where_no_stack_shows_it(case: Case) -> None:
    """With 24 ways into one function its greatest stack is a small part; the headline is the sum."""
    console = case.folder / next(p.name for p in case.folder.glob("console.log*"))
    verdict = oomscope.explain(console)
    first = verdict.culprits[0]
    assert (first.culprit.function, verdict.answer.holder) == ("take_shared", "take_shared")
    assert first.stacks >= 24
    assert verdict.greatest is not None
    assert first.pages > 20 * verdict.greatest.pages
    assert verdict.answer.pages == first.pages


@pytest.mark.parametrize("case", each(ALONE))
def test_there_is_one_report(case: Case) -> None:
    """Once only, and not for OOMs that nobody panics of."""
    assert len(GREATEST.findall(console_lines(case, by_program=True))) == 1
    assert len(panic_reports(open_dump(dump_of(case)))) == 1


@pytest.mark.parametrize("case", each(WHOLE))
def test_the_dump_has_the_report_of_the_map(case: Case) -> None:
    """The report kept in the BPF map is found without the trace: a witness that agrees with the scan of the pages.

    Until panic() stops the other processor it may free and allocate: no more differs than page_owner stamped since.
    """
    (witness,) = (witness for witness in explained(case).witnesses if witness.origin.endswith(REPORT))
    assert witness.ours - witness.theirs == sum(part.amount for part in witness.parts)
    changed = sum(abs(part.amount) for part in witness.parts)
    assert changed <= (pages_changed_since_report(case) if changed else 0)
    assert witness.theirs > 0


@pytest.mark.parametrize("case", each(WHOLE))
def test_nothing_is_left_uncounted(case: Case) -> None:
    """Every stack and every page could be read, none was beyond the table, and RAM is what the dump has."""
    for report in panic_reports(open_dump(dump_of(case))):
        assert report.ram_pages == evidence_of(case).ram_pages
        assert (report.unread_pages, report.unread_stacks, report.lost_pages, report.stopped) == (0, 0, 0, False)


@pytest.mark.parametrize("case", each(WITNESSED))
def test_the_program_says_what_the_patched_kernel_says(case: Case) -> None:
    """The 2020 patch's own walk, in C in the dying kernel, prints the same greatest consumer, to the page."""
    by_kernel, by_program = (console_lines(case, by_program=which) for which in (False, True))
    assert GREATEST.findall(by_kernel) == GREATEST.findall(by_program) != []


def times_us(cases: list[Case], *, by_program: bool, unit: str) -> list[float]:
    """Microseconds for each page or stack, of every report on these consoles; the least is the one least disturbed.

    Without those for culprits, which are as many whatever the walk is.
    """
    lines = [line for case in cases for line in WALKED.findall(console_lines(case, by_program=by_program))]
    return [(int(took) - int(named or 0)) / int(count) for count, its_unit, took, named in lines if its_unit == unit]


def test_the_walk_over_pages_is_as_quick_as_the_patch() -> None:
    """On one kernel the program needs at most twice the time of the C walk for a page."""
    cases = [case for case in WITNESSED if case.kernel == "6.1-witness"]
    if not cases:
        pytest.skip(WITHOUT_CASES)
    ours, theirs = (times_us(cases, by_program=which, unit="pages") for which in (True, False))
    assert min(ours) <= 2 * min(theirs)


@pytest.mark.parametrize("case", each([case for case in of("armed-both-ways") if case.kernel == "6.12"]))
def test_the_kernels_own_count_is_far_quicker_than_the_walk(case: Case) -> None:
    """One panic counted in both ways on one stopped machine: the list of stacks takes a fifteenth of the time."""
    lines = WALKED.findall(console_lines(case, by_program=True))
    took_us = {unit: int(took) - int(named) for _, unit, took, named in lines}
    assert took_us["stacks"] <= took_us["pages"] / 15


@pytest.mark.parametrize("case", each([case for case in of("armed-both-ways") if case.kernel not in WITHOUT_LIST]))
def test_both_ways_agree_stack_by_stack(case: Case) -> None:
    """The same panic counted over stack_list and page by page: the greatest stacks are the same, to the page.

    But for those that the kernel does not list: first met when there was no memory left for a node of the list.
    """
    dump = open_dump(dump_of(case))
    by_pages, by_stacks = sorted(panic_reports(dump), key=lambda report: -report.way)
    assert (by_pages.way, by_stacks.way) == (2, 1)
    least = max(by_pages.consumers[-1].pages, by_stacks.consumers[-1].pages)
    pages_of = [{c.handle: c.pages for c in r.consumers if c.pages > least} for r in (by_pages, by_stacks)]
    listed = set(listed_handles(dump, StackDepot(dump)) or ())
    assert {handle: pages for handle, pages in pages_of[0].items() if handle in listed} == pages_of[1] != {}


@pytest.mark.parametrize("case", each(of("armed-not-fooled")))
def test_what_nobody_panics_of_is_not_reported(case: Case) -> None:
    """A cgroup's OOM kill, SysRq-f and a plain OOM kill leave the one report for the panic."""
    assert "no reports since" in case.text("status.txt")
    console = case.text("console.log")
    assert console.count("Memory cgroup out of memory: Killed process") == 1
    assert console.count("Out of memory: Killed process") > 1


@pytest.mark.parametrize("case", each(of("armed-kill")))
def test_a_kill_is_reported_once_a_minute(case: Case) -> None:
    """Of two kills in one minute the first; the map gives it to --status, and to --live as an earlier moment."""
    assert case.text("console.log").count("Out of memory: Killed process") >= 2
    status = case.text("status.txt")
    assert "1 report since" in status
    (pages,) = map(int, re.findall(r"memory consumer #2: (\d+) pages", status))
    assert pages == next(account["pages"] for account in json.loads(case.text("truth.json"))["moments"]["taken"])
    live = json.loads(case.text("live.json"))
    assert any("report of OOM kill 1" in told["origin"] for told in live["inputs"])


@pytest.mark.parametrize("case", each(of("armed-stopped")))
def test_a_walk_that_takes_too_long_stops_and_says_so(case: Case) -> None:
    """The bound is a promise to the dying machine: what was counted by then is printed, and called too small."""
    assert re.search(r"OOM: stopped after \d+ ms: the numbers are too small", case.text("console.log"))
    (report,) = panic_reports(open_dump(dump_of(case)))
    assert report.stopped
    assert report.walked_pages < evidence_of(case).latest.counts.rows


@pytest.mark.parametrize("case", each(of("armed-sampled")))
def test_one_page_of_many_tells_the_culprit_within_its_bound(case: Case) -> None:
    """The console calls its number an estimate and says how good it is; two bounds are four standard deviations."""
    console = printed(case).latest
    log, first = console.reading.notes.log, explained(case).culprits[0]
    assert log.sampled is not None
    assert (log.sampled.stride, log.sampled.is_surely_greatest) == (64, True)
    assert log.sampled.bound_pages is not None
    assert log.culprits[0].function == first.culprit.function == "take_shared"
    assert abs(log.culprits[0].pages - first.pages) <= 2 * log.sampled.bound_pages < 0.1 * first.pages
    verdict = oomscope.explain(case.folder / next(p.name for p in case.folder.glob("console.log*")))
    assert any("1 of 64 pages was looked at" in unknown.reason for unknown in verdict.absent)
    assert not [f for f in verdict.findings if f.certainty == "certain" and "take_shared" in f.claim]


@pytest.mark.parametrize("case", each([case for case in WHOLE if case.kernel in ("6.1", "6.12")][:4]))
@pytest.mark.parametrize("stride", [8, 64])
def test_the_bound_holds_over_two_hundred_draws(case: Case, stride: int) -> None:
    """The program's estimator, over the handles of real pages: the exact count lies within the bound in 95 of 100.

    For the greatest stacks; 180 of 200 is what 190 may fall to by chance, four standard deviations away.
    """
    handles = handles_by_page(case)
    draws = np.random.default_rng(20261128)
    exact = Counter(handles[handles != 0].tolist())
    greatest = [handle for handle, _ in exact.most_common(5)]
    strides = handles.reshape(-1, stride)
    within = Counter[int]()
    for _ in range(200):
        drawn = strides[np.arange(len(strides)), draws.integers(0, stride, len(strides))]
        by_block = drawn.reshape(-1, BLOCK_PAGES // stride)
        for handle in greatest:
            pages, bound = estimate((by_block == handle).sum(axis=1), stride)
            within[handle] += abs(pages - exact[handle]) <= bound
    assert min(within[handle] for handle in greatest) >= 180


def estimate(in_block: npt.NDArray[np.int64], stride: int) -> tuple[int, float]:
    """variance_of() and bound_of() of the program, from how many of each block's drawn pages were a stack's."""
    drawn = BLOCK_PAGES // stride
    seen, squares = int(in_block.sum()), int((in_block**2).sum())
    variance = (seen * drawn - squares) // (drawn - 1) * stride**2
    return seen * stride, 2 * (math.isqrt(variance) + 1) + 3 * stride


def handles_by_page(case: Case) -> npt.NDArray[np.uint32]:
    """Every page's handle, 0 where it has none, of whole sections."""
    dump = open_dump(dump_of(case))
    entry_bytes, at = int(dump.prog["page_ext_size"]), int(dump.prog["page_owner_ops"].offset)
    handle_at = at + next(m.bit_offset for m in dump.prog.type("struct page_owner").members if m.name == "handle") // 8
    allocated = 1 << int(dump.prog.constant("PAGE_EXT_OWNER_ALLOCATED"))
    found = []
    for section in sections(dump):
        assert section.page_ext_at is not None
        rows = dump.bytes_at(section.page_ext_at, section.pages * entry_bytes).reshape(section.pages, entry_bytes)
        held = column(rows, 0, np.uint64) & np.uint64(allocated) != 0
        found.append(np.where(held, column(rows, handle_at, np.uint32), 0))
    return np.concatenate(found)


@pytest.mark.parametrize("case", each(of("arm-and-disarm")))
def test_a_hundred_rounds_leave_nothing_behind(case: Case) -> None:
    """Settings, pins, state, probes and programs are as before; the dump has no map of ours any more."""
    told = json.loads(case.text("rounds.json"))
    assert told["rounds"] == 100
    assert told["after"] == told["before"]
    assert told["after_tracking"] == told["before"]
    assert told["armed"]["pins"] != told["before"]["pins"]
    assert told["tracked"]["programs"] > told["before"]["programs"]
    assert told["tracked"]["trampolines"] > told["before"]["trampolines"]
    assert set(re.findall(r"(\S+)\+0x0 ", told["armed"]["kprobes"])) == {"dump_header"}
    assert panic_reports(open_dump(dump_of(case))) == []


@pytest.mark.parametrize("case", each(of("arm-and-disarm")))
def test_armed_and_idle_costs_nothing(case: Case) -> None:
    """Nothing is on the allocation path: armed, a page fault costs at most a tenth more, which is emulation's noise.

    Runs of both kinds take turns in one guest, each behind one that warms up.
    """
    told = json.loads(case.text("rounds.json"))
    assert told["fault_ns_armed"] <= 1.1 * told["fault_ns_idle"]


@pytest.mark.parametrize("case", each(REFUSED))
def test_what_is_missing_is_said_in_one_sentence(case: Case) -> None:
    """Exit code 4, the reason, and the command that mends it."""
    refusals = sorted(case.folder.glob("refused.*"))
    assert refusals
    for path in refusals:
        expected = REFUSALS[path.name.partition(".")[2].removeprefix("tracking-")]
        if path.name == "refused.tracking-too-old":
            expected = "this kernel cannot track pages: no bpf_for_each_map_elem() (it came with 5.13)"
        assert path.read_text() == f"oomscope: {expected}\nexit 4\n"


@pytest.mark.parametrize("case", each(of("armed-not-fooled")))
def test_arming_twice_is_refused(case: Case) -> None:
    """The second time says that it is armed, and changes nothing."""
    assert case.text("refused.twice") == f"oomscope: {REFUSALS['twice']}\nexit 4\n"


@pytest.mark.parametrize("case", each(PSTORE))
def test_pstore_brings_the_report_over_the_reboot(case: Case) -> None:
    """What the next boot finds in reserved memory names the same stack and pages as the dying console."""
    on_console = printed(case).latest.counts
    kept = oomscope.explain(case.folder / "pstore")
    assert on_console.pages is not None
    assert kept.greatest is not None
    assert kept.greatest.pages == int(on_console.pages.max())
    assert kept.greatest.holding.culprit is not None
    assert kept.greatest.holding.culprit.function in case.culprits_at_end


@pytest.mark.parametrize("case", each([case for case in REFUSED if case.scenario == "arm-locked-down"]))
def test_a_locked_down_kernel_is_explained_from_text(case: Case) -> None:
    """Where /proc/kcore may not be read, --live reads page_owner's file to its end, and says what was forbidden."""
    assert case.text("live.err").endswith("exit 0\n")
    told = " ".join(case.text("live.txt").split())
    assert re.match(r"\S[^\n]* holds? [\d.]+ \wiB \([\d,]+ pages\)", told)
    assert "/proc/kcore: the kernel is locked down (confidentiality)" in told
