"""Short lists that were taken again and again: the last counts, none is added to another, and growth is told."""

from __future__ import annotations

from pathlib import Path

import pytest

import oomscope
from oomscope.errors import OomscopeError
from oomscope.model.verdict import Verdict

ROW = "kmalloc-64 {objects} {objects}     64   64    1 : tunables    0    0    0 : slabdata  {slabs}  {slabs}      0\n"
OBJECTS = (1_203_456, 1_303_456, 1_403_456)


def explained(tmp_path: Path, text: str) -> Verdict:
    path = tmp_path / "pasted.txt"
    path.write_text(text)
    return oomscope.explain(path)


def test_the_rows_of_one_cache_are_readings_of_it(tmp_path: Path) -> None:
    """Three rows are not three caches: the last is the cache, and it grew."""
    rows = "".join(ROW.format(objects=objects, slabs=objects // 64 + 1) for objects in OBJECTS)
    verdict = explained(tmp_path, f"$ grep kmalloc-64 /proc/slabinfo\n{rows}")
    (account,) = verdict.accounts
    assert [(entry.name, entry.amount) for entry in account.entries] == [("kmalloc-64", OBJECTS[-1] // 64 + 1)]
    assert any("slab cache kmalloc-64 grew by 12.2 MiB" in finding.claim for finding in verdict.findings)


@pytest.mark.parametrize("stamp", ["", "10:0{n} ", "2024-03-01 10:0{n}:00 ", "Fri Mar  1 10:0{n}:00 UTC 2024: "])
def test_a_counter_that_was_looked_at_again(tmp_path: Path, stamp: str) -> None:
    """One line of meminfo, three times: what it is, and how it grew."""
    text = "".join(f"{stamp.format(n=n)}SUnreclaim:       {n}03456 kB\n" for n in (2, 4, 6))
    verdict = explained(tmp_path, text)
    assert verdict.answer.headline == "SUnreclaim is the largest of the counters that were given: 589.3 MiB"
    assert any("counter SUnreclaim grew by 390.6 MiB" in finding.claim for finding in verdict.findings)


def test_a_counter_once_is_no_series(tmp_path: Path) -> None:
    """One line of it is prose, as far as anybody can tell."""
    with pytest.raises(OomscopeError):
        explained(tmp_path, "SUnreclaim:       203456 kB\n")


def test_two_listings_are_two_readings(tmp_path: Path) -> None:
    """The same command twice: its rows are never added up."""
    listing = "$ sort -g /proc/allocinfo | tail -2\n   12345678   301 mm/slub.c:2264 func:alloc_slab_page\n"
    texts = [f"{listing}   {size}   9000 drivers/net/foo.c:33 [foo] func:foo_rx\n" for size in (92345678, 192345678)]
    (account,) = explained(tmp_path, "".join(texts)).accounts
    assert [(entry.name, entry.amount) for entry in account.entries] == [
        ("foo_rx", 192345678),
        ("alloc_slab_page", 12345678),
    ]


def test_an_app_that_was_looked_at_twice_is_one(tmp_path: Path) -> None:
    """`dumpsys meminfo PID` twice: the last reading, and its largest part."""
    one = (
        "** MEMINFO in pid 1234 [com.example.app] **\n                   Pss  Private\n"
        "                 Total    Dirty\n"
        "  Native Heap   {heap}   {heap}\n  Dalvik Heap    23456    23400\n        TOTAL   {total}   860000\n"
    )
    text = one.format(heap=500000, total=600123) + "\n" + one.format(heap=812345, total=900123)
    (account,) = explained(tmp_path, text).accounts
    (entry,) = account.entries
    assert (entry.name, entry.amount, entry.count) == ("com.example.app", 900123 * 1024, 1)
    assert entry.place == "Native Heap 812,345 kB"


SLABINFO = (
    "slabinfo - version: 2.1\n# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab>\n"
    "ext4_inode_cache 1000 1000 1000 32 8 : tunables 0 0 0 : slabdata {n} {n} 0\n"
    "dentry 2000 2000 192 21 1 : tunables 0 0 0 : slabdata 96 96 0\n"
)


@pytest.mark.parametrize("between", ["", "\n", "Fri Mar  1 11:00:00 UTC 2024\n"])
def test_a_whole_file_twice_is_one(tmp_path: Path, between: str) -> None:
    """What follows an account at once is another reading of it, and the one that counts."""
    (account,) = explained(tmp_path, SLABINFO.format(n=32) + between + SLABINFO.format(n=40)).accounts
    assert [(entry.name, entry.amount) for entry in account.entries] == [("ext4_inode_cache", 320), ("dentry", 96)]


def test_a_full_meminfo_tells_more_than_what_a_tool_makes_of_it(tmp_path: Path) -> None:
    """`free` beside it takes nothing away."""
    text = (
        "MemTotal:       16267828 kB\nMemFree:          213616 kB\nBuffers:           10168 kB\n"
        "Cached:          1537144 kB\nAnonPages:       1200000 kB\nShmem:             10000 kB\n"
        "SReclaimable:     100000 kB\nSUnreclaim:     12000000 kB\n\n$ free -m\n"
        "               total        used        free      shared  buff/cache   available\n"
        "Mem:           15886       13886         208         489        1510        1234\n"
    )
    assert explained(tmp_path, text).answer.headline.startswith("slab holds 11.5 GiB")


@pytest.mark.parametrize(("second", "grew"), [("db1", True), ("db2", False)])
def test_what_another_host_has_is_no_growth(tmp_path: Path, second: str, grew: bool) -> None:
    """Prompts tell whose reading it is: of two machines the last is explained, and nothing grew."""
    meminfo = (
        "MemTotal:       16267828 kB\nMemFree:          213616 kB\nSUnreclaim:     {size} kB\nAnonPages: 1200000 kB\n"
    )
    texts = [
        f"root@{host}:~# cat /proc/meminfo\n" + meminfo.format(size=size)
        for host, size in (("db1", 2000000), (second, 9000000))
    ]
    verdict = explained(tmp_path, "".join(texts))
    assert any("grew by" in finding.claim for finding in verdict.findings) is grew
    assert any("another machine (db1)" in absent.reason for absent in verdict.absent) is not grew
