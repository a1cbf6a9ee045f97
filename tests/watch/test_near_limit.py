from __future__ import annotations

from pathlib import Path

import pytest

from oomscope.errors import BadQuestion
from oomscope.model.notice import NEAR
from oomscope.watch.near_limit import NearLimit


def group(root: Path, name: str, *, high: int = 0, most: int = 0, ooms: int = 0) -> None:
    folder = root / "sys/fs/cgroup" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.events").write_text(f"low 0\nhigh {high}\nmax {most}\noom {ooms}\noom_kill {ooms}\n")
    (folder / "memory.current").write_text("104857600\n")
    (folder / "memory.max").write_text("134217728\n")
    (folder / "memory.high").write_text("max\n")


def test_what_happened_since_is_told_once_a_minute(tmp_path: Path) -> None:
    """With how often, and how full it is; what was there before the watch began is not."""
    group(tmp_path, "system.slice/db.service", most=100)
    group(tmp_path, "system.slice/web.service")
    near = NearLimit(("system.slice/*.service",), tmp_path)
    assert list(near.due(100.0)) == []
    group(tmp_path, "system.slice/db.service", most=107)
    (told,) = near.due(105.0)
    assert told.kind == NEAR
    assert told.text == "unit db.service was about to go over memory.max 7 times; it has 100.0 MiB of 128.0 MiB"
    assert told.figures["cgroup"] == "/system.slice/db.service"
    group(tmp_path, "system.slice/db.service", most=120)
    assert list(near.due(110.0)) == []
    (later,) = near.due(170.0)
    assert later.figures["max_events"] == 13


def test_what_ended_in_an_oom_is_told_as_one(tmp_path: Path) -> None:
    """The OOM says more than that its cgroup was full before."""
    group(tmp_path, "a/one")
    near = NearLimit(("a/one",), tmp_path)
    group(tmp_path, "a/one", most=50, ooms=1)
    assert list(near.due(100.0)) == []
    group(tmp_path, "a/one", most=51, ooms=1)
    assert [each.figures["max_events"] for each in near.due(105.0)] == [1]


def test_a_group_that_comes_later_is_looked_at_too(tmp_path: Path) -> None:
    """A pattern is asked again each time."""
    group(tmp_path, "a/one")
    near = NearLimit(("a/*",), tmp_path)
    group(tmp_path, "a/two", high=5)
    (told,) = near.due(100.0)
    assert "memory.high 5 times" in told.text
    group(tmp_path, "a/two", high=3)  # made anew under its name
    (told,) = near.due(200.0)
    assert "memory.high 3 times" in told.text


def test_a_group_that_is_not_there_is_said(tmp_path: Path) -> None:
    """A misspelt name would be watched in vain."""
    with pytest.raises(BadQuestion, match="no such cgroup"):
        NearLimit(("system.slice/dbb.service",), tmp_path)
