from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import oomscope
from tests.support import captures
from tests.support.transcriptions import ORDINARY, linux_4_14, linux_6_12

SHOW = b" post_alloc_hook+0x6f/0xc2\n leak_mb_write+0x7b/0xaf [leak]\nnr_base_pages: %d\n\n"


def test_two_counts_of_one_moment_are_never_added() -> None:
    """page_owner text and show_stacks of one machine give the dump's figures, not their sum."""
    verdict = oomscope.explain(captures.CASE_6_12)
    alone = oomscope.explain(captures.AFTER_6_12)
    assert verdict.counted_pages == alone.counted_pages
    assert verdict.greatest is not None
    assert verdict.greatest.pages == captures.LEAKED_PAGES


def test_their_difference_is_explained_by_name() -> None:
    """Of the 6.12 capture's 2,653 pages between dump and show_stacks, 2,648 are early and the rest has names."""
    (witness,) = oomscope.explain(captures.CASE_6_12).witnesses
    assert (witness.ours, witness.theirs, witness.unit) == (41_821, 39_168, "pages")
    assert sum(part.amount for part in witness.parts) == witness.ours - witness.theirs
    amounts = [(part.name.partition(":")[0], part.amount, part.stacks) for part in witness.parts]
    assert amounts[0] == ("early pages", 2_648, "(early pages) +2,648")
    assert amounts[1:] == [
        ("not in page_owner_stacks though allocated well before", 6, "netfs_alloc_request +6"),
        ("more in the dump", 4, "netfs_alloc_request +2, p9_tag_alloc +2"),
        ("fewer in the dump", -5, "__pud_alloc -1, (user) -1, (user) -1, (user) -1, pgd_alloc -1"),
    ]


def test_show_stacks_is_the_witness_of_the_dump_it_agrees_with() -> None:
    """In a folder with dumps and show_stacks before and after, each witness goes with its own dump."""
    show_before = captures.LINUX_6_12 / "show_stacks.before.zst"
    verdict = oomscope.explain(captures.BEFORE_6_12, captures.AFTER_6_12, captures.SHOW_STACKS, show_before)
    assert [Path(w.origin) for w in verdict.witnesses] == [captures.SHOW_STACKS]
    evidence = oomscope.read(captures.BEFORE_6_12, captures.AFTER_6_12, captures.SHOW_STACKS, show_before)
    assert [[Path(w.origin) for w in m.witnesses] for m in evidence.moments] == [[show_before], [captures.SHOW_STACKS]]


def test_a_show_stacks_of_another_time_is_left_out_and_said() -> None:
    """With one dump and two show_stacks, the one that does not fit takes no part."""
    show_before = captures.LINUX_6_12 / "show_stacks.before.zst"
    verdict = oomscope.explain(captures.AFTER_6_12, captures.SHOW_STACKS, show_before)
    assert [Path(w.origin) for w in verdict.witnesses] == [captures.SHOW_STACKS]
    assert any(str(show_before) in absent.what for absent in verdict.absent)


def test_stack_count_is_a_witness_of_allocations(tmp_path: Path) -> None:
    """The variant that counts allocations is held against the dump's blocks, not its pages."""
    (tmp_path / "page_owner").write_bytes(linux_6_12(replace(ORDINARY, order=2)) * 3)
    stack = b"".join(b" %s\n" % frame.encode() for frame in ORDINARY.frames)
    (tmp_path / "show_stacks").write_bytes(stack + b"stack_count: 3\n\n")
    (witness,) = oomscope.explain(tmp_path).witnesses
    assert (witness.unit, witness.ours, witness.theirs, witness.parts) == ("allocations", 3, 3, ())


def test_the_panic_is_the_latest_moment() -> None:
    """With console and dumps of one machine, the dying kernel's lines are explained, the dumps show growth."""
    verdict = oomscope.explain(captures.CASE_6_12, captures.CONSOLE_6_12)
    assert verdict.greatest is not None
    assert verdict.greatest.pages == 74_600
    assert (verdict.greatest.growth or "").startswith("+74,600 pages")
    before = [f for f in verdict.findings if "before the panic" in f.claim]
    assert "leak_mb_write [leak] held 137.0 MiB (35,072 pages)" in before[0].claim
    assert before[0].certainty == "possible"


def test_show_stacks_alone_without_order(tmp_path: Path) -> None:
    """Of several show_stacks, which tell no time, the largest is explained and the others are said to be left out."""
    (tmp_path / "a").write_bytes(SHOW % 11)
    (tmp_path / "b").write_bytes(SHOW % 7)
    verdict = oomscope.explain(tmp_path)
    assert verdict.counted_pages == 11
    assert any("the time of" in absent.what for absent in verdict.absent)


def test_meminfo_that_fits_the_moment_is_chosen() -> None:
    """Of two meminfos, the one whose used memory is nearest to the pages counted gives the free pages."""
    verdict = oomscope.explain(
        captures.AFTER_6_12, captures.LINUX_6_12 / "meminfo", captures.LINUX_6_12 / "meminfo.after"
    )
    assert verdict.balance is not None
    assert {row.kind: row.pages for row in verdict.balance.rows}["free"] == 321_984 // 4


def test_an_inconsistent_snapshot_is_said() -> None:
    """A meminfo from before the leak leaves a negative remainder, which is reported, not clipped."""
    verdict = oomscope.explain(captures.AFTER_6_12, captures.LINUX_6_12 / "meminfo")
    assert verdict.balance is not None
    assert verdict.balance.unexplained_pages < 0
    assert any("inconsistent" in finding.claim for finding in verdict.findings)


@pytest.mark.parametrize(
    ("entry", "lines", "proven", "assumed"),
    [
        ("entry_SYSCALL_64_after_hwframe+0x4b/0x53", "", 4096, None),
        ("el0t_64_sync+0x1/0x2", "", None, 4096),
        ("el0t_64_sync+0x1/0x2", "Hugepagesize: 2048 kB\n", None, 4096),
        ("el0t_64_sync+0x1/0x2", "Hugepagesize: 32768 kB\n", None, 16_384),
        ("el0t_64_sync+0x1/0x2", "Hugepagesize: 524288 kB\n", 65_536, None),
        ("el0t_64_sync+0x1/0x2", "Mapped: 1004 kB\n", 4096, None),
        ("unknown+0x1/0x2", "Hugepagesize: 1024 kB\n", None, 4096),
        ("unknown+0x1/0x2", "DirectMap4k: 8 kB\nDirectMap2M: 8 kB\nDirectMap1G: 0 kB\n", 4096, None),
        ("unknown+0x1/0x2", "DirectMap4k: 0 kB\nDirectMap64k: 0 kB\nDirectMap2M: 8 kB\n", None, 4096),
        ("system_call_exception+0x1/0x2", "Hugepagesize: 2048 kB\n", None, 4096),
    ],
)
def test_a_page_size_is_proven_or_assumed(
    tmp_path: Path, entry: str, lines: str, proven: int | None, assumed: int | None
) -> None:
    """What proves the page size gives bytes and shares; what is merely usual is named as that, and gives none."""
    (tmp_path / "dump").write_bytes(linux_6_12(replace(ORDINARY, frames=(*ORDINARY.frames, entry))))
    (tmp_path / "meminfo").write_text(f"MemTotal:  1048576 kB\nMemFree:  524288 kB\n{lines}")
    verdict = oomscope.explain(tmp_path)
    assert verdict.greatest is not None
    assert verdict.greatest.size_bytes == proven
    assert verdict.ram_pages == (None if proven is None else (1 << 30) // proven)
    assert (verdict.greatest.share_of_ram is None) == (proven is None)
    assert verdict.kernel.page_size_assumed_bytes == assumed
    assert bool(verdict.kernel.page_size_proof) == (proven is not None)
    assert (assumed is None) == all("is usual" not in absent.reason for absent in verdict.absent)
    told = oomscope.explain(tmp_path, page_size_bytes=65_536)
    assert told.greatest is not None
    assert told.greatest.size_bytes == 65_536
    assert told.kernel.page_size_assumed_bytes is None


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    """A dump by itself has no RAM, no release and no share, each with its reason."""
    (tmp_path / "dump").write_bytes(linux_6_12(ORDINARY))
    verdict = oomscope.explain(tmp_path)
    assert verdict.greatest is not None
    assert verdict.greatest.share_of_ram is None
    assert {"RAM", "kernel release"} <= {absent.what for absent in verdict.absent}
    assert all(absent.reason for absent in verdict.absent)


def test_filters_do_not_change_when_a_dump_was_taken() -> None:
    """The moment is that of the whole dump, and so is the order of two, whatever a filter leaves over."""
    whole = oomscope.explain(captures.AFTER_6_12)
    until = oomscope.explain(captures.AFTER_6_12, selection=oomscope.Selection(until_ns=5_500_000_000))
    assert until.at_ns == whole.at_ns
    assert until.greatest is not None
    assert "one burst" in (until.greatest.growth or "")
    selection = oomscope.Selection(comms=frozenset({"swapper/0"}))
    alone = oomscope.explain(captures.AFTER_6_12, selection=selection)
    both = oomscope.explain(captures.AFTER_6_12, captures.BEFORE_6_12, selection=selection)
    assert both.counted_pages == alone.counted_pages


def test_dumps_without_times_are_not_put_in_an_order(tmp_path: Path) -> None:
    """Of two dumps of a kernel before 5.11 the larger is explained, the other left out and said, no growth claimed."""
    (tmp_path / "a").write_bytes(linux_4_14(ORDINARY) * 500)
    (tmp_path / "b").write_bytes(linux_4_14(ORDINARY) * 100)
    verdict = oomscope.explain(tmp_path)
    assert verdict.counted_pages == 500
    assert verdict.greatest is not None
    assert verdict.greatest.growth is None
    assert any("carry none: left out" in absent.reason for absent in verdict.absent)


def test_a_panic_report_without_a_stamp_is_the_latest(tmp_path: Path) -> None:
    """A dying kernel's lines come after every dump of it, also when a journal cut their time off."""
    text = captures.text(captures.CONSOLE_6_12).decode(errors="replace")
    lines = [line.partition("] ")[2] for line in text.splitlines() if "bpf_trace_printk" in line]
    (tmp_path / "log").write_text("".join(f"2026-11-19T21:02:11+0000 host kernel: {line}\n" for line in lines))
    verdict = oomscope.explain(tmp_path / "log", captures.AFTER_6_12)
    assert verdict.greatest is not None
    assert verdict.greatest.pages == 74_600


def test_copies_of_one_dump_are_one_moment(tmp_path: Path) -> None:
    """A dump beside its compressed self shows no growth of nothing."""
    (tmp_path / "page_owner").write_bytes(captures.text(captures.AFTER_6_12))
    verdict = oomscope.explain(tmp_path / "page_owner", captures.AFTER_6_12)
    assert verdict.greatest is not None
    assert "one burst" in (verdict.greatest.growth or "")
    assert any("the same dump as" in absent.reason for absent in verdict.absent)


def test_dumps_of_two_machines_are_not_compared() -> None:
    """Dumps that share no stack are of other kernels: no growth is claimed between them, and two releases are said."""
    verdict = oomscope.explain(
        captures.AFTER_6_12, captures.BEFORE_6_1, captures.CASE_6_12 / "version", captures.LINUX_6_1 / "version"
    )
    assert not any("grew by" in finding.claim for finding in verdict.findings)
    assert any("shares no stack" in absent.reason for absent in verdict.absent)
    assert any("6.12.117" in absent.reason and "6.1.192" in absent.reason for absent in verdict.absent)


def test_a_show_stacks_of_another_moment_is_no_witness() -> None:
    """A show_stacks from before the leak is not explained away as lost stacks: it is left out."""
    verdict = oomscope.explain(captures.AFTER_6_12, captures.LINUX_6_12 / "show_stacks.before.zst")
    assert verdict.witnesses == ()
    assert any("agrees with no dump" in absent.reason for absent in verdict.absent)


def test_what_only_records_tell_is_asked_of_the_dump() -> None:
    """With a panic log beside the dump, grouping by task is answered from the dump."""
    verdict = oomscope.explain(captures.AFTER_6_12, captures.CONSOLE_6_12, question=oomscope.Question(by="comm"))
    assert verdict.source == "page_owner"
    assert verdict.groups[0].name == "sh"
