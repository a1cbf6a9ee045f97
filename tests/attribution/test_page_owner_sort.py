"""The eight defects of the kernel's own tools/mm/page_owner_sort.c (6.12): none of them here."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import oomscope
from oomscope.verdict import Question
from tests.support import captures
from tests.support.transcriptions import FORMS, ORDINARY, Form, linux_6_1, linux_6_12


def explained(path: Path, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "oomscope", "explain", str(path), "--format", "json", *arguments],
        capture_output=True,
        check=True,
    )
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_1_sort_is_obeyed() -> None:
    """--sort changes the order, alone and with other options (there it is silently ignored)."""
    orders = {
        sort: [g["name"] for g in explained(captures.AFTER_6_12, "--by", "comm", "--sort", sort)["groups"]["rows"]]
        for sort in ("pages", "name", "age")
    }
    assert orders["name"] == sorted(orders["pages"])
    assert len({tuple(order) for order in orders.values()}) == 3


def test_2_a_stack_is_one_group_whatever_header_and_memcg_say(tmp_path: Path) -> None:
    """Pid, comm, gfp, memcg and migration lines do not split a stack (there 3,000 stacks became 45,149 groups)."""
    variants = [
        replace(
            ORDINARY,
            pid=pid,
            comm=b"task-%d" % pid,
            gfp_flags=("GFP_KERNEL", "GFP_ATOMIC")[pid % 2],
            memcg=b"pod-%d" % pid if pid % 3 else None,
            migrate_reason="compaction" if pid % 5 == 0 else None,
        )
        for pid in range(1, 102)
    ]
    path = tmp_path / "dump"
    path.write_bytes(b"".join(map(linux_6_12, variants)))
    verdict = oomscope.explain(path)
    assert [(c.pages, c.holding.stack.texts) for c in verdict.consumers] == [(101, ORDINARY.frames)]


@pytest.mark.parametrize("form", [form for form in FORMS if form.has_frames], ids=lambda form: form.name)
def test_3_one_tool_reads_every_kernels_dump(tmp_path: Path, form: Form) -> None:
    """Records with other time stamps are one group for every kernel (there tool and kernel version must match)."""
    path = tmp_path / "dump"
    path.write_bytes(b"".join(form.text(replace(ORDINARY, ts_ns=i, free_ts_ns=7 * i)) for i in range(1, 98)))
    verdict = oomscope.explain(path)
    assert [c.pages for c in verdict.consumers] == [97]


def test_4_pipes_are_read() -> None:
    """Standard input is an input like any other (there: `max_size too small??`)."""
    done = subprocess.run(
        [sys.executable, "-m", "oomscope", "explain", "/dev/stdin", "--format", "kernel"],
        input=captures.text(captures.AFTER_6_12),
        capture_output=True,
        check=True,
    )
    assert done.stdout.startswith(b"OOM: greatest memory consumer: 35072 pages")


def test_5_the_last_record_counts_without_its_blank_line(tmp_path: Path) -> None:
    """Five records are five, whether the last blank line is there or not (there: four)."""
    path = tmp_path / "dump"
    for text in (linux_6_12(ORDINARY) * 5, (linux_6_12(ORDINARY) * 5)[:-1]):
        path.write_bytes(text)
        assert oomscope.explain(path).counted_pages == 5


@pytest.mark.parametrize("path", [captures.AFTER_6_1, captures.AFTER_6_12], ids=["6.1", "6.12"])
def test_6_slabs_are_told_by_their_stacks(path: Path) -> None:
    """6.12 no longer prints the slab flag, and slabs are found all the same (there they become OTHERS).

    On 6.1 the kernel is the witness: the pages of kind slab are those whose Flags say `slab`, to the page (but
    for early ones, whose stack nobody knows).
    """
    verdict = oomscope.explain(path, question=Question(by="kind"))
    pages = {group.name: group.pages for group in verdict.groups}
    flagged = sum(
        1 << int(block.partition(b"order ")[2].partition(b",")[0])
        for block in captures.text(path).split(b"\n\n")
        if re.search(rb"\nPFN [^\n]*[(|]slab[|)]", block) and b"register_early_stack" not in block
    )
    if path == captures.AFTER_6_1:
        assert pages["slab"] == flagged > 0
    else:
        assert flagged == 0
        # SReclaimable + SUnreclaim of the capture's meminfo, read a moment after the dump.
        assert pages["slab"] == pytest.approx(8_368 // 4, rel=0.2)


def test_7_totals_shares_top_and_orders_without_bounds(tmp_path: Path) -> None:
    """Pages, totals and shares are shown, --top bounds the list, an impossible order is refused, sums pass 2^31."""
    report = explained(captures.CASE_6_12, "--top", "2")
    assert len(report["consumers"]) == 2
    assert report["counted"]["pages"] == 41_821
    assert report["consumers"][0]["share_of_ram"] == pytest.approx(0.285, abs=0.001)
    gigantic = b"".join(linux_6_12(replace(ORDINARY, order=22, pfn=i << 22)) for i in range(1, 601))
    path = tmp_path / "dump"
    path.write_bytes(gigantic + linux_6_12(replace(ORDINARY, order=64)))
    verdict = oomscope.explain(path)
    assert verdict.counted_pages == 600 << 22 > 2**31
    assert verdict.partial


def test_8_a_record_without_its_pfn_line_is_spoilt_and_nothing_else(tmp_path: Path) -> None:
    """A record that lost its second line is counted as damaged (there memory that was never written is compared)."""
    whole = linux_6_1(ORDINARY)
    lines = whole.split(b"\n")
    path = tmp_path / "dump"
    path.write_bytes(whole + b"\n".join(lines[:1] + lines[2:]) + whole)
    verdict = oomscope.explain(path)
    assert verdict.counted_pages == 2
    assert [i.corrupt_records for i in verdict.inputs] == [1]
