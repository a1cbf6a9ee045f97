"""Accounts that strangers pasted, each of which was answered wrongly: what is right about them."""

from __future__ import annotations

from pathlib import Path

import pytest

import oomscope
from oomscope.model.verdict import Verdict
from oomscope.report import terminal

BUSYBOX_FREE = """\
             total         used         free       shared      buffers
Mem:        254548       217692        36856        22944        10528
-/+ buffers:             207164        47384
Swap:            0            0            0
"""
CRASH = """\
CACHE             OBJSIZE  ALLOCATED     TOTAL  SLABS  SSIZE  NAME
ffff880c7fc07c00     2048      48835     58480   3655    32k  kmalloc-2048
kmem: NOTE: kmalloc-1024: object list is not complete
ffff880c7fc07b00     1024     108058    112640   3520    32k  kmalloc-1024
"""
GEM = """\
4142 objects, 5153960755 bytes
systemd-logind: 175 objects, 242641920 bytes (0 active)
Xorg: 25 objects, 141557760 bytes (0 active)
"""
TOP = "Mem: 453000K used, 155888K free, 22944K shrd, 10528K buff, 139914323006485K cached\n"
SWAPPED = """\
MemTotal:       16266052 kB
MemFree:         1000000 kB
Buffers:           10000 kB
Cached:          1000000 kB
SwapCached:      1106592 kB
Active(anon):    3000000 kB
Inactive(anon):  1076378 kB
AnonPages:       2900000 kB
Shmem:            100000 kB
SReclaimable:     100000 kB
SUnreclaim:       900000 kB
"""


def explained(tmp_path: Path, text: str) -> Verdict:
    path = tmp_path / "pasted.txt"
    path.write_text(text)
    return oomscope.explain(path)


def test_free_of_an_old_busybox(tmp_path: Path) -> None:
    """Five columns, and buffers alone in the row below."""
    verdict = explained(tmp_path, f"root@bmc:~# free\n{BUSYBOX_FREE}")
    assert verdict.balance is not None
    assert verdict.balance.ram_pages == 254548 // 4


def test_what_crash_remarks_ends_no_table(tmp_path: Path) -> None:
    """The rows behind it are rows."""
    (account,) = explained(tmp_path, CRASH).accounts
    assert [entry.name for entry in account.entries] == ["kmalloc-2048", "kmalloc-1024"]


def test_a_row_that_is_the_whole_is_not_added_to_its_parts(tmp_path: Path) -> None:
    """Graphics buffers: no sum over the total and its clients."""
    text = terminal.render(explained(tmp_path, GEM))
    assert "Graphics buffers; one may be in several rows: 3 of 3\n" in text


def test_a_figure_beyond_all_of_ram_is_no_answer(tmp_path: Path) -> None:
    """Busybox's top prints nonsense for the cache: it is left out, and said."""
    verdict = explained(tmp_path, TOP)
    assert "PiB" not in verdict.answer.headline
    assert verdict.balance is not None
    assert any("more than all of RAM: left out" in note for note in verdict.balance.notes)


def test_swap_cache_that_nobody_has_mapped_is_in_a_row(tmp_path: Path) -> None:
    """By the lists: what is neither process memory nor shmem there, as far as SwapCached goes."""
    balance = explained(tmp_path, SWAPPED).balance
    assert balance is not None
    assert [row.pages for row in balance.rows if row.kind == "swap cache"] == [1076378 // 4]


@pytest.mark.parametrize("text", ["CmaTotal:         524288 kB\nCmaFree:          441276 kB\n"])
def test_the_pair_that_tells_of_contiguous_memory(tmp_path: Path, text: str) -> None:
    """Two lines are enough: what is in use, of how much."""
    (account,) = explained(tmp_path, f"$ grep Cma /proc/meminfo\n{text}").accounts
    assert [(entry.amount, entry.place) for entry in account.entries] == [(83012 * 1024, "of 512.0 MiB")]


def test_what_is_not_told_is_not_zero(tmp_path: Path) -> None:
    """`vmstat -s` cut short tells nothing of free memory; a pool whose use is not told is in no account."""
    text = "      4020152 K total memory\n       452268 K used memory\n       384428 K buffer memory\n"
    path = tmp_path / "pasted.txt"
    path.write_text(text)
    (reading,) = oomscope.read(path).readings
    assert reading.notes.accounts.meminfo is not None
    assert reading.notes.accounts.meminfo.free_bytes is None
    pools = "/sys/kernel/debug/cma/a/count:100\n/sys/kernel/debug/cma/b/count:100\n/sys/kernel/debug/cma/b/used:7\n"
    (account,) = explained(tmp_path, pools).accounts
    assert [entry.name for entry in account.entries] == ["b"]
