"""What the crash kernel's reader finds: in the crash kernel itself, and by the same code in every dump of the lab."""

from __future__ import annotations

import json
import re
import time
from functools import cache
from pathlib import Path

import drgn
import pytest

import oomscope
from oomscope.attribution.culprit import attribute
from oomscope.crash_reader.errors import Unread
from oomscope.crash_reader.findings import Findings
from oomscope.crash_reader.plan import CrashPlan
from oomscope.host.kdump.plan import plan
from oomscope.model.counts import Counts
from oomscope.model.verdict import Verdict
from oomscope.sources.vmcore.opening import open_dump
from tests.lab.test_dumps import CORES, FUNCTIONS_ONLY, dump_of, evidence_of, explained
from tests.support.lab_cases import CASES, Case, each

OTHER_PLAN = [case for case in CASES if case.scenario == "crash-kernel-other-plan"]
CRASHED = [case for case in CASES if case.scenario.startswith("crash-kernel") and case not in OTHER_PLAN]
READ = [case for case in CORES if case.kernel not in FUNCTIONS_ONLY]
ALLOWED_BYTES = 30 << 20


class DumpedMemory:
    """A dump's physical memory as drgn reads it: /proc/vmcore is there in a crash kernel alone."""

    def __init__(self, case: Case) -> None:
        dump = open_dump(dump_of(case))
        self._program, self.vmcoreinfo, self.plan = dump.prog, dump.vmcoreinfo, json.loads(json.dumps(plan(dump)))

    def into(self, address: int, view: memoryview) -> None:
        """See Core."""
        try:
            view[:] = self._program.read(address, len(view), physical=True)
        except (drgn.FaultError, ValueError) as error:
            raise Unread(str(error)) from error


@cache
def findings(case: Case) -> dict[str, object]:
    memory = DumpedMemory(case)
    found = Findings(memory, CrashPlan(memory.plan))
    found.take_log()
    found.take_pages(time.monotonic(), 600)
    return found.told


def pages_by_stack(told: dict[str, object]) -> dict[tuple[str, ...], int]:
    consumers: list[dict[str, object]] = told.get("consumers", [])  # type: ignore[assignment]
    return {tuple(each["frames"]): each["pages"] for each in consumers if each["frames"]}  # type: ignore[arg-type,misc]


def counted(counts: Counts) -> dict[tuple[str, ...], int]:
    if counts.pages is None or not counts.stacks:
        return {}
    pairs = zip(counts.stacks, counts.pages.tolist(), strict=True)
    return {stack.texts: pages for stack, pages in pairs if stack.frames and attribute(stack).label is None}


def culprits(verdict: Verdict) -> dict[str, tuple[int, int]]:
    """By name; a bare address, of code that is gone, the reader blames for nothing."""
    named = [each for each in verdict.culprits if not each.culprit.function.startswith("0x")]
    return {str(each.culprit): (each.pages, each.stacks) for each in named}


def findings_of(case: Case) -> Path:
    """What the reader wrote in the crash kernel; the lab packs what is large."""
    return next(case.folder.glob("vmcore-oom.json*"))


@pytest.mark.parametrize("case", each(READ))
def test_the_reader_finds_what_the_dump_holds(case: Case) -> None:
    """Every stack by its frames and pages, every culprit, and the log: as `explain` finds them in the same dump."""
    told, verdict = findings(case), explained(case)
    assert pages_by_stack(told) == counted(evidence_of(case).latest.counts)
    answering: list[dict[str, object]] = told.get("culprits", [])  # type: ignore[assignment]
    assert {each["name"]: (each["pages"], each["stacks"]) for each in answering} == culprits(verdict)
    assert told["ram_pages"] == verdict.ram_pages
    assert ("] Kernel panic - not syncing" in str(told["log"])) == (case.end == "panic")


def _is_among(stack: tuple[str, ...], pages: int, ours: dict[tuple[str, ...], int]) -> bool:
    """Whether the same stack is there with more names.

    makedumpfile 1.7.2 leaves out pages of the slab allocator of 6.12 with -d 31: the dump may lack the list of BPF
    programs that the crash kernel had before it.
    """
    return any(
        pages == held
        and len(stack) == len(other)
        and all(own == frame or frame.startswith("0x") for own, frame in zip(other, stack, strict=True))
        for other, held in ours.items()
    )


@pytest.mark.parametrize("case", each(CRASHED))
def test_the_crash_kernel_finds_what_its_own_dump_holds(case: Case) -> None:
    """The same crash, seen by the reader in the crash kernel and by `explain` in the dump that was saved after it."""
    told = json.loads(case.text("vmcore-oom.json"))
    verdict = oomscope.explain(case.folder / "vmcore")
    ours, theirs = pages_by_stack(told), counted(oomscope.read(case.folder / "vmcore").latest.counts)
    assert len(ours) == len(theirs) > 0
    unnamed = {stack: pages for stack, pages in theirs.items() if ours.get(stack) != pages}
    assert all(_is_among(stack, pages, ours) for stack, pages in unnamed.items())
    answering = {each["name"]: (each["pages"], each["stacks"]) for each in told["culprits"]}
    assert answering == culprits(verdict) or unnamed
    assert told["missing"] == []
    alone = oomscope.explain(findings_of(case))
    assert alone.answer.headline == verdict.answer.headline
    assert alone.ram_pages == verdict.ram_pages
    assert alone.oom is not None
    assert verdict.oom is not None
    assert (alone.oom.oom_class, alone.oom.certainty) == (verdict.oom.oom_class, verdict.oom.certainty)
    assert alone.oom.story == verdict.oom.story


@pytest.mark.parametrize("case", each(CRASHED))
def test_the_dying_console_has_the_lines(case: Case) -> None:
    """The culprit and the totals stand behind the panic, and `explain` reads them back."""
    told = json.loads(case.text("vmcore-oom.json"))
    console = case.text("console.log")
    greatest = told["culprits"][0]
    line = f"OOM: greatest culprit: {greatest['pages']} pages by {greatest['name']} through {greatest['stacks']} stacks"
    assert console.index("Kernel panic - not syncing") < console.index(line)
    assert line in case.text("vmcore-oom.txt")
    verdict = oomscope.explain(case.folder / "vmcore-oom.txt")
    assert (str(verdict.culprits[0].culprit), verdict.culprits[0].pages) == (greatest["name"], greatest["pages"])


@pytest.mark.parametrize("case", each(CRASHED))
def test_the_dump_and_the_findings_are_each_others_witness(case: Case) -> None:
    """Given together, one is explained and the other agrees with it to the page."""
    verdict = oomscope.explain(case.folder / "vmcore", findings_of(case))
    assert [each.origin for each in verdict.witnesses if "vmcore-oom.json" in each.origin]
    assert not [each for each in verdict.findings if "vmcore-oom.json" in str(each)]


@pytest.mark.parametrize("case", each(CRASHED))
def test_it_fits_into_a_crash_kernel(case: Case) -> None:
    """The interpreter, the modules and the plan as they lie in the initramfs, and the peak: below 30 MiB together."""
    files = int(re.findall(r"(\d+) [^\n]*/reader\.cpio", case.text("sizes.txt"))[0])
    told = json.loads(case.text("vmcore-oom.json"))
    assert files + told["peak_kib"] * 1024 < ALLOWED_BYTES
    assert told["took_s"] < 60


@pytest.mark.parametrize("case", each(OTHER_PLAN))
def test_a_plan_of_another_kernel_is_said_and_the_dump_is_saved(case: Case) -> None:
    """One sentence with both releases, no findings, and a dump that `explain` reads."""
    console = case.text("console.log")
    release = oomscope.read(case.folder / "vmcore").kernel.release
    assert "oomscope: nothing can be told of the dead kernel: " in console
    assert f"the plan is of 4.20.1, the dead kernel is {release}\n" in console.replace("\r", "")
    assert not case.has("vmcore-oom")
    assert explained(case).answer.headline.startswith("take_page [oomlab] holds ")


@pytest.mark.parametrize("case", each(CRASHED))
def test_findings_of_another_boot_take_no_part(case: Case) -> None:
    """Beside a dump of another crash of the same kernel, they change nothing, and that they were left out is said."""
    others = [other for other in CRASHED if other.kernel == case.kernel and other is not case]
    if not others:
        pytest.skip("lab/out has one such crash of this kernel")
    alone = oomscope.explain(case.folder / "vmcore")
    both = oomscope.explain(case.folder / "vmcore", findings_of(others[0]))
    assert both.answer == alone.answer
    assert both.ram_pages == alone.ram_pages
    assert any("of another boot" in each.reason for each in both.absent)
