"""Small captures of the lab's kernels, each read as `make lab` reads the whole ones: without QEMU."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import oomscope
from tests.support import brute_force, captures

FOLDERS = sorted((captures.DATA / "lab").iterdir())
DUMPED = [folder for folder in FOLDERS if (folder / "page_owner.zst").exists()]
PRINTED = [folder for folder in FOLDERS if (folder / "console.log.zst").exists()]


def named(folder: Path) -> str:
    return folder.name


@pytest.mark.parametrize("folder", DUMPED, ids=named)
def test_the_holders_have_the_pages_that_the_guest_counted(folder: Path) -> None:
    """On every kernel of the lab the culprits hold, to the page, what the module says it holds."""
    truth = json.loads((folder / "truth.json").read_text())
    verdict = oomscope.explain(folder)
    pages = {row.culprit.function: (row.culprit.module, row.pages) for row in verdict.culprits}
    for holder in truth["moments"]["taken"]:
        assert pages[holder["function"]] == (holder["module"], holder["pages"])
    assert verdict.kernel.release == truth["release"]


@pytest.mark.parametrize("folder", DUMPED, ids=named)
def test_every_record_is_read(folder: Path) -> None:
    """A slow reading of the dump finds the same pages under the same stacks, and nothing is spoilt or unknown."""
    path = folder / "page_owner.zst"
    verdict = oomscope.explain(path)
    listed = {c.holding.stack.texts: c.pages for c in (*verdict.consumers, *verdict.excepted)}
    assert listed == brute_force.pages_per_stack(captures.text(path))
    (read,) = verdict.inputs
    assert (read.corrupt_records, read.unknown_lines, read.defect) == (0, 0, None)


@pytest.mark.parametrize("folder", PRINTED, ids=named)
def test_what_a_dying_kernel_counted_itself_is_read(folder: Path) -> None:
    """A kernel that carries the 2020 algorithm counted by itself: its greatest consumer, its totals, its panic."""
    truth = json.loads((folder / "truth.json").read_text())
    console = captures.text(folder / "console.log.zst").decode()
    printed = re.search(r"OOM: greatest memory consumer: (\d+) pages", console)
    totals = re.search(r"OOM: (\d+) stacks hold (\d+) of (\d+) pages; (\d+) pages not counted", console)
    assert printed is not None
    assert totals is not None
    verdict = oomscope.explain(folder / "console.log.zst")
    assert verdict.greatest is not None
    assert verdict.greatest.holding.culprit is not None
    assert verdict.greatest.holding.culprit.function == truth["culprit_at_end"]
    assert verdict.greatest.pages == int(printed[1])
    assert (verdict.counted_stacks, verdict.counted_pages, verdict.ram_pages) == tuple(map(int, totals.groups()[:3]))
    assert verdict.oom is not None
    assert verdict.oom.panic is True


def test_stacks_that_7_2_does_not_list_are_named() -> None:
    """7.2 leaves stacks whose requests may not reclaim out of show_stacks: the difference to the dump says so."""
    (witness,) = oomscope.explain(captures.DATA / "lab" / "7.2").witnesses
    assert witness.ours - witness.theirs == sum(part.amount for part in witness.parts)
    assert any("may not reclaim" in part.name and part.amount > 0 for part in witness.parts)
    (older,) = oomscope.explain(captures.DATA / "lab" / "6.12").witnesses
    assert not any("may not reclaim" in part.name for part in older.parts)
