from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from oomscope.cli import cli
from oomscope.errors import CorruptInput, NothingToExplain, OutputFailed
from oomscope.host.facts import Machine
from oomscope.model.usage_sample import UsageSample
from oomscope.report.history import sparkline
from oomscope.watch import sample
from oomscope.watch.history import History
from tests.support import captures

MIB = 1 << 20
ACCOUNTS = captures.DATA / "accounts/6.12-slab-owners"


def filled(path: Path, readings: int, *, boot: str = "b", most: int = 2016) -> History:
    history = History(path, most_readings=most)
    for number in range(readings):
        amounts = {"slab caches": {"kmalloc-64": (100 + 10 * number) * MIB, "dentry": 50 * MIB}}
        history.add(UsageSample(boot, 1e9 + 300 * number, 300 * number, 8 << 30, 4 << 30, MIB, amounts))
    return history


def test_the_ring_keeps_the_newest_and_no_more(tmp_path: Path) -> None:
    """However many come; the file stops growing."""
    path = tmp_path / "var" / "history.sqlite"
    history = filled(path, 60, most=20)
    size = path.stat().st_size
    points = history.series()[("slab caches", "kmalloc-64")]
    assert [at for at, _ in points] == [1e9 + 300 * number for number in range(40, 60)]
    filled(path, 60, most=20)
    assert path.stat().st_size <= 1.5 * size


def test_another_boot_begins_anew(tmp_path: Path) -> None:
    """What leaked before it is gone."""
    filled(tmp_path / "h", 20)
    history = filled(tmp_path / "h", 3, boot="other")
    assert len(history.series()[("slab caches", "dentry")]) == 3


def test_what_is_no_history_is_said(tmp_path: Path) -> None:
    """Not there, of another kind, in a place that cannot be written."""
    with pytest.raises(NothingToExplain, match="is not there"):
        History(tmp_path / "none").series()
    (tmp_path / "text").write_text("no database, but long enough to be looked at" * 100)
    with pytest.raises(CorruptInput, match="no history"):
        History(tmp_path / "text").series()
    with pytest.raises(OutputFailed):
        filled(tmp_path / "text" / "h", 1)


def test_the_command_shows_what_grew(tmp_path: Path) -> None:
    """As a table with a sparkline, as JSON, as a page."""
    pytest.importorskip("jinja2")
    filled(tmp_path / "h", 30)
    run = CliRunner().invoke(cli, ["history", "--history", str(tmp_path / "h")])
    assert run.output.startswith(
        "kmalloc-64 +120.0 MiB an hour for 2.4 h; out of memory in about 34.1 h (slab caches, now"
    )
    assert "▁" in run.output
    assert "█" in run.output
    run = CliRunner().invoke(cli, ["history", "--history", str(tmp_path / "h"), "--format", "json"])
    report = json.loads(run.output)
    assert [row["holder"] for row in report["grew"]] == ["kmalloc-64"]
    assert {(row["account"], row["holder"]): len(row["bytes"]) for row in report["series"]} == {
        ("slab caches", "kmalloc-64"): 30,
        ("slab caches", "dentry"): 30,
        ("machine", "unaccounted for"): 30,
    }
    page = tmp_path / "history.html"
    CliRunner().invoke(cli, ["history", "--history", str(tmp_path / "h"), "-o", str(page)])
    assert "kmalloc-64 +120.0 MiB an hour" in page.read_text()


def test_a_sparkline_runs_from_the_least_to_the_most() -> None:
    """One that is flat stays at the bottom."""
    assert sparkline([(float(n), n) for n in range(8)]) == "▁▂▃▄▅▆▇█"
    assert set(sparkline([(float(n), 7) for n in range(100)])) == {"▁"}
    assert sparkline([]) == ""
    assert len(sparkline([(float(n), n) for n in range(1000)])) == 24


def test_a_reading_takes_every_account_that_is_there() -> None:
    """This machine's own: what its meminfo says of RAM; a part is never larger than that."""
    taken = sample.take(Machine())
    assert taken.ram_bytes == Machine().ram_bytes
    for account, amounts in taken.amounts.items():
        if account != "call sites":  # slab pages count twice there
            assert sum(amounts.values()) <= taken.ram_bytes, account


def test_a_captured_machine_is_read_as_well(tmp_path: Path) -> None:
    """From its files below another root: its slab to the byte."""
    proc = tmp_path / "proc"
    proc.mkdir()
    for name in ("slabinfo", "meminfo"):
        (path,) = ACCOUNTS.glob(f"{name}*")
        (proc / name).write_bytes(captures.text(path))
    taken = sample.take(Machine(tmp_path))
    row = next(
        line.split() for line in (proc / "slabinfo").read_text().splitlines() if line.startswith("oomlab_object")
    )
    pages = int(row[5]) * int(row[14])  # of one slab, and how many slabs there are
    assert taken.amounts["slab caches"]["oomlab_object"] == pages * 4096
    kib = re.search(r"MemTotal: +(\d+) kB", (proc / "meminfo").read_text())
    assert kib is not None
    assert taken.ram_bytes == int(kib[1]) * 1024
