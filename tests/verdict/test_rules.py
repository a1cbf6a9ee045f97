from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import oomscope
from tests.support import captures
from tests.support.transcriptions import EARLY, ORDINARY, Record, linux_6_12

ALLOCATOR = ("post_alloc_hook+0x6f/0xc2", "__alloc_pages_noprof+0xea/0x1b3")
SLAB = (*ALLOCATOR, "new_slab+0x83/0x1bb", "kmem_cache_alloc_noprof+0x7f/0x1b6")
ANON = (*ALLOCATOR, "vma_alloc_folio_noprof+0x1/0x2", "do_anonymous_page+0x1/0x2", "handle_mm_fault+0x1/0x2")


def explain(path: Path, *holdings: tuple[Record, int]) -> oomscope.Verdict:
    path.write_bytes(b"".join(linux_6_12(record) * count for record, count in holdings))
    return oomscope.explain(path)


def held_by(*frames: str) -> Record:
    return replace(ORDINARY, frames=frames)


def test_the_greatest_stack_is_certain_for_pages_and_likely_for_slabs(tmp_path: Path) -> None:
    """page_owner proves who took pages; for slab pages it proves who grew the cache only."""
    pages = explain(tmp_path / "a", (ORDINARY, 7))
    slab = explain(tmp_path / "b", (held_by(*SLAB, "leaky+0x1/0x2 [m]"), 7))
    assert (pages.findings[0].certainty, slab.findings[0].certainty) == ("certain", "likely")
    assert "faddr2line leak.ko leak_mb_write+0x7b/0xaf" in pages.findings[0].next
    assert "alloc_traces" in slab.findings[0].next


def test_a_stack_of_helpers_only_is_possible_at_most(tmp_path: Path) -> None:
    """Where the stack was cut inside helpers, naming the last of them is a guess and called one."""
    verdict = explain(tmp_path / "a", (held_by(*SLAB, "kernfs_new_node+0x1/0x2"), 7))
    assert verdict.findings[0].certainty == "possible"
    assert "helpers only" in verdict.findings[0].refuted_by


def test_a_leak_over_many_paths_is_named(tmp_path: Path) -> None:
    """Twenty paths to one culprit, each small, outweigh one greater stack: the objection that sank the 2020 patch."""
    paths = [(held_by(*ALLOCATOR, f"leaky+{i:#x}/0x100 [m]", f"caller_{i}+0x1/0x2 [m]"), 11) for i in range(20)]
    verdict = explain(tmp_path / "a", *paths, (held_by(*ALLOCATOR, "innocent+0x1/0x2"), 101))
    assert verdict.greatest is not None
    assert str(verdict.greatest.holding.culprit) == "innocent"
    first = verdict.culprits[0]
    assert (str(first.culprit), first.pages, first.stacks) == ("leaky [m]", 220, 20)
    assert any("leaky [m] holds 220 pages over 20 stacks" in finding.claim for finding in verdict.findings)


def test_user_memory_may_win_and_has_no_culprit(tmp_path: Path) -> None:
    """Where a process holds most, nobody in the kernel is blamed, and the greatest kernel consumer stands beside."""
    verdict = explain(tmp_path / "a", (held_by(*ANON), 31), (ORDINARY, 7))
    assert verdict.greatest is not None
    assert (verdict.greatest.pages, verdict.greatest.holding.kind, verdict.greatest.holding.culprit) == (
        31,
        "user",
        None,
    )
    assert verdict.greatest_kernel is not None
    assert (verdict.greatest_kernel.pages, str(verdict.greatest_kernel.holding.culprit)) == (7, "leak_mb_write [leak]")
    assert "sh (pid 54)" in verdict.findings[0].next


def test_early_dummy_and_failure_stacks_are_listed_and_never_named(tmp_path: Path) -> None:
    """page_owner's own stacks hold more than anybody here, and are still not the greatest consumer."""
    failure = replace(EARLY, frames=("register_failure_stack+0x1/0x2", "init_page_owner+0x3/0x4"))
    dummy = replace(EARLY, frames=("register_dummy_stack+0x1/0x2", "init_page_owner+0x3/0x4"))
    verdict = explain(tmp_path / "a", (EARLY, 97), (failure, 89), (dummy, 83), (ORDINARY, 7))
    assert verdict.greatest is not None
    assert verdict.greatest.pages == 7
    assert [(c.holding.label, c.holding.kind, c.pages) for c in verdict.excepted] == [
        ("early", "early", 97),
        ("failure", "untracked", 89),
        ("dummy", "untracked", 83),
    ]
    assert any("stack depot was full" in finding.claim for finding in verdict.findings)


def test_nobody_can_be_named(tmp_path: Path) -> None:
    """A dump of early pages only is a verdict without a consumer."""
    verdict = explain(tmp_path / "a", (EARLY, 97))
    assert (verdict.greatest, verdict.consumers, verdict.counted_pages) == (None, (), 97)


def test_every_finding_says_why_and_what_next() -> None:
    """Each finding on the captures rests on evidence, can be refuted, and names the next step."""
    for paths in ([captures.CASE_6_12], [captures.LINUX_6_1], [captures.BEFORE_6_12, captures.AFTER_6_12]):
        for finding in oomscope.explain(*paths).findings:
            assert finding.because
            assert finding.refuted_by
            assert finding.next
