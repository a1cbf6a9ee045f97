"""A memory cgroup by its own files, of both versions of the interface."""

from __future__ import annotations

from pathlib import Path

import pytest

import oomscope
from oomscope.errors import BadQuestion
from oomscope.host.memory_cgroup import files_of

V2 = {
    "memory.stat": "anon 480000000\nfile 20000000\nkernel 9000000\nshmem 0\nslab_reclaimable 5000000\n"
    "slab_unreclaimable 2000000\nslab 7000000\n",
    "memory.current": "509000000\n",
    "memory.max": "524288000\n",
    "memory.events": "low 0\nhigh 0\nmax 112\noom 3\noom_kill 3\noom_group_kill 0\n",
    "memory.pressure": "some avg10=22.10 avg60=14.02 avg300=3.00 total=1\n",
}
V1 = {
    "memory.stat": "cache 20000000\nrss 480000000\ntotal_cache 20000000\ntotal_rss 480000000\n"
    "hierarchical_memory_limit 524288000\n",
    "memory.usage_in_bytes": "501346304\n",
    "memory.limit_in_bytes": "524288000\n",
    "memory.failcnt": "17\n",
}


def group(folder: Path, files: dict[str, str]) -> Path:
    """A folder of such files."""
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (
            V2,
            ["485.4 MiB", "97.1 %", "(500.0 MiB)", "anonymous memory (457.8 MiB", "3 of its processes", "14 % of the"],
        ),
        (V1, ["478.1 MiB", "95.6 %", "(500.0 MiB)", "anonymous memory (457.8 MiB", "into its limit 17 times"]),
    ],
    ids=["v2", "v1"],
)
def test_a_folder_is_one_group(tmp_path: Path, files: dict[str, str], words: list[str]) -> None:
    """Each file has one figure; together they say who fills it, and how near its limit it is."""
    (finding,) = oomscope.explain(group(tmp_path / "app", files)).findings
    assert [word for word in words if word not in finding.claim] == []
    assert finding.certainty == "certain"


def test_two_groups_are_not_blended(tmp_path: Path) -> None:
    """The larger one is told; the smaller one's limit is not its."""
    group(tmp_path / "large", {name: V2[name] for name in ("memory.stat", "memory.current")})
    group(tmp_path / "small", {"memory.current": "1048576\n", "memory.max": "2097152\n"})
    (finding,) = oomscope.explain(tmp_path).findings
    assert "485.4 MiB" in finding.claim
    assert "limit" not in finding.claim


@pytest.mark.parametrize("current", ["1048576\n", "99999999999999999999\n", "max\n", "-1\n", ""])
def test_damaged_figures_are_no_certainty(tmp_path: Path, current: str) -> None:
    """Statistics that are more than the group has, or no figure at all."""
    folder = group(tmp_path / "app", {"memory.stat": V2["memory.stat"], "memory.max": V2["memory.max"]})
    (folder / "memory.current").write_text(current)
    (finding,) = oomscope.explain(folder).findings
    is_sum = "483.5 MiB" in finding.claim  # of the statistics, where the figure is none
    assert finding.certainty == ("certain" if is_sum else "possible")
    assert is_sum == (current != "1048576\n")


def test_a_group_of_this_machine_is_found_by_its_path(tmp_path: Path) -> None:
    """Below one of the mounts, or as a folder; what is not there is said."""
    group(tmp_path / "app", V2)
    found = files_of("/app", mounts=(tmp_path,))
    assert sorted(Path(each).name for each in found) == sorted(V2)
    assert files_of(str(tmp_path / "app"), mounts=()) == found
    with pytest.raises(BadQuestion, match="no such group"):
        files_of("/app", mounts=(tmp_path / "other",))
