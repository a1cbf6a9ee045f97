from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest

import oomscope
from oomscope.model.account import CALL_SITE, DMA_BUFFER, SLAB_CACHE
from oomscope.model.diff import BALANCE, CULPRIT, STACK, Difference
from oomscope.pipeline.api import compare
from oomscope.report import diff as report
from tests.support import brute_force, captures, corpus


def _slabinfo(path: Path, slabs: int) -> Path:
    row = f"kmalloc-2k 1 2 2048 16 8 : tunables 0 0 0 : slabdata {slabs} {slabs} 0 \n"
    path.write_text("slabinfo - version: 2.1\n" + row)
    return path


@pytest.mark.parametrize(
    ("before", "after"),
    [(captures.BEFORE_6_1, captures.AFTER_6_1), (captures.BEFORE_6_12, captures.AFTER_6_12)],
    ids=["6.1", "6.12"],
)
def test_the_leak_of_the_captures(before: Path, after: Path) -> None:
    """What the module took between the readings is the first culprit's growth; every stack's is a slow count's."""
    found = compare(before, after)
    first = found.of(CULPRIT)[0]
    assert (first.name, first.change_pages) == ("leak_mb_write [leak]", captures.LEAKED_PAGES)
    assert first.change_bytes == captures.LEAKED_PAGES * 4096
    assert found.apart_ns is not None
    assert first.bytes_per_s == pytest.approx(captures.LEAKED_PAGES * 4096 * 1e9 / found.apart_ns)
    ours = {change.stack.texts: change.change_pages for change in found.of(STACK) if change.stack is not None}
    slow = Counter(brute_force.pages_per_stack(captures.text(after)))
    slow.subtract(brute_force.pages_per_stack(captures.text(before)))
    assert ours == {stack: pages for stack, pages in slow.items() if pages}


def test_the_other_way_round_everything_shrinks() -> None:
    """Given in the wrong order, the later reading comes first: uptime tells, and the leak is what was given back."""
    found = compare(captures.AFTER_6_1, captures.BEFORE_6_1)
    assert found.restart == "the later reading has the lesser uptime"
    assert found.apart_ns is None
    assert found.of(CULPRIT)[0].change_pages == -captures.LEAKED_PAGES
    assert "restarted" in report.text(found)


def test_one_case_of_two_moments(tmp_path: Path) -> None:
    """A folder with readings of several times: from the earliest to the latest, whatever the files are called."""
    (tmp_path / "a").write_bytes(captures.text(captures.AFTER_6_1))
    (tmp_path / "b").write_bytes(captures.text(captures.BEFORE_6_1))
    found = compare(tmp_path)
    assert found.of(CULPRIT)[0].change_pages == captures.LEAKED_PAGES
    assert found.restart is None


def test_another_kernel_is_a_restart() -> None:
    """Readings of two kernels are not of one boot, and that is said."""
    found = compare(captures.CASE_6_12, captures.LINUX_6_1)
    assert found.restart is not None
    assert found.apart_ns is None


def test_small_files_are_compared_by_themselves(tmp_path: Path) -> None:
    """Two readings of slabinfo alone: pages per cache; no time, so no rate; bytes where the page size is given."""
    one, other = _slabinfo(tmp_path / "one", 100), _slabinfo(tmp_path / "other", 175)
    (cache,) = compare(one, other, page_size_bytes=4096).of(SLAB_CACHE)
    assert (cache.name, cache.change_pages, cache.change_bytes, cache.bytes_per_s) == (
        "kmalloc-2k",
        600,
        600 * 4096,
        None,
    )


def test_call_sites_are_compared_in_bytes(tmp_path: Path) -> None:
    """Two readings of allocinfo: bytes per call site, those that are gone or new among them."""
    row = "  {} 1 a.c:1 [m] func:{}\n"
    (tmp_path / "one").write_text("allocinfo - version: 1.0\n" + row.format(4096, "gone") + row.format(8192, "grown"))
    (tmp_path / "other").write_text(
        "allocinfo - version: 1.0\n" + row.format(8192 + 77, "grown") + row.format(5, "new")
    )
    found = compare(tmp_path / "one", tmp_path / "other").of(CALL_SITE)
    assert {change.name.split()[0]: change.change_bytes for change in found} == {"gone": -4096, "grown": 77, "new": 5}


def test_two_oom_reports_are_compared_by_their_balance() -> None:
    """Two logs: each row of the balance of RAM, to the page."""
    name = "055-procfs-ipv6-order5-order6.log"
    first, last = corpus.events_of(name)
    found = {c.name: c.change_pages for c in _between_events(name).of(BALANCE)}
    assert found["free"] == last.counters["free"] - first.counters["free"]
    assert found["page tables"] == last.counters["pagetables"] - first.counters["pagetables"]


def _between_events(name: str) -> Difference:

    lines = captures.text(corpus.path(name)).split(b"\n")
    second = corpus.events_of(name)[1].first_line - 1
    with tempfile.TemporaryDirectory() as folder:
        one, other = Path(folder, "one"), Path(folder, "other")
        one.write_bytes(b"\n".join(lines[:second]))
        other.write_bytes(b"\n".join(lines[second:]))
        return compare(one, other)


def test_what_has_nothing_in_common_is_refused(tmp_path: Path) -> None:
    """Slabinfo against page_owner: one sentence."""
    with pytest.raises(oomscope.NothingToExplain, match="no kind of evidence in common"):
        compare(_slabinfo(tmp_path / "slabinfo", 5), captures.AFTER_6_1)


def test_one_reading_alone_is_refused() -> None:
    """There is nothing to compare it with."""
    with pytest.raises(oomscope.NothingToExplain, match="one reading only"):
        compare(captures.AFTER_6_1)


@pytest.mark.parametrize("form", ["text", "kernel", "json"])
def test_the_command(form: str, tmp_path: Path) -> None:
    """Every format has the leak, on the screen and in a file."""
    command = [sys.executable, "-m", "oomscope", "diff", str(captures.BEFORE_6_1), str(captures.AFTER_6_1)]
    out = tmp_path / "out"
    shown = subprocess.run([*command, "--format", form], capture_output=True, check=True, text=True)
    subprocess.run([*command, "--format", form, "-o", str(out)], check=True)
    assert out.read_text() == shown.stdout
    assert re.search(r"\+?35,?072", shown.stdout)
    if form == "json":
        assert json.loads(shown.stdout)["changes"]["culprit"][0]["change_pages"] == captures.LEAKED_PAGES
    if form == "kernel":
        assert shown.stdout.startswith("OOM: +35072 pages are allocated from:\n prep_new_page+")


def test_every_account_is_compared_row_by_row(tmp_path: Path) -> None:
    """Whatever file two moments have in common: here buffers of an exporter, and the balance by counters."""
    for name, count in (("one", 1), ("other", 3)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "bufinfo").write_text(bufinfo(count))
        (folder / "meminfo").write_text(
            f"MemTotal: 80000 kB\nMemFree: {50000 - count * 8100} kB\nHugepagesize: 2048 kB\n"
        )
    found = compare(tmp_path / "one", tmp_path / "other")
    assert [(c.name, c.change_bytes) for c in found.of(DMA_BUFFER)] == [("system camera preview", 2 * 8294400)]
    rows = {c.name: c.change_pages for c in found.of(BALANCE)}
    assert rows == {"free": -4050, "unexplained": 4050}


def bufinfo(count: int) -> str:
    row = "08294400\t00000002\t00080007\t00000004\tsystem\t00000011\tcamera preview\n"
    return f"Dma-buf Objects:\n{row * count}Total {count} objects, {count * 8294400} bytes\n"


def test_equal_changes_stand_in_one_order() -> None:
    """By name, then by stack: two runs print the same, in whatever order their workers end."""
    found = compare(captures.BEFORE_6_1, captures.AFTER_6_1)
    for kind in (STACK, CULPRIT):
        told = [(-abs(c.change_pages or 0), c.name, c.stack.texts if c.stack else ()) for c in found.of(kind)]
        assert told == sorted(told)
