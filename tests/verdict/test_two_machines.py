"""Files of two machines given together: said, and nothing of one fills a row of the other."""

from __future__ import annotations

from pathlib import Path

import oomscope
from tests.support import corpus

LOG = corpus.path("058-journald-llvm-tblgen-hyperv.log")
OTHER = corpus.path("045-cpuset-movable-only-node.log")
MEMINFO = "MemTotal:       131902764 kB\nMemFree:          512000 kB\nMemAvailable:     314772 kB\n"
SLABINFO = (
    "slabinfo - version: 2.1\n# name\n"
    "kmalloc-64 478070000  50589     64   64    1 : tunables    0    0    0 : slabdata 24090000 24090000      0\n"
)


def claims(*paths: Path) -> list[str]:
    """What is found of them together."""
    return [finding.claim for finding in oomscope.explain(*paths).findings]


def test_two_releases_are_said() -> None:
    """By what the kernels call themselves; one log alone is of one."""
    assert any("the inputs are of 2 kernels" in claim for claim in claims(LOG, OTHER))
    assert not any("kernels" in claim for claim in claims(LOG))


def test_another_ram_is_said_and_no_more(tmp_path: Path) -> None:
    """A balloon changes it, too: the report keeps its own, and its certainty."""
    path = tmp_path / "meminfo"
    path.write_text(MEMINFO)
    verdict = oomscope.explain(LOG, path)
    assert "/proc/meminfo has 125.8 GiB of RAM, the report 3.3 GiB" in " ".join(f.claim for f in verdict.findings)
    assert verdict.oom is not None
    assert (verdict.oom.oom_class, verdict.oom.certainty) == ("user-anon", "certain")


def test_a_part_that_is_larger_than_its_whole_names_nothing(tmp_path: Path) -> None:
    """A slabinfo of another moment: 24,090,000 pages of kmalloc-64 are not among 44,821 of slab."""
    path = tmp_path / "slabinfo"
    path.write_text(SLABINFO)
    balance = oomscope.explain(LOG, path).balance
    assert balance is not None
    assert [row.parts for row in balance.rows if row.kind == "slab, unreclaimable"] == [()]
    assert any("names nothing here" in note for note in balance.notes)
