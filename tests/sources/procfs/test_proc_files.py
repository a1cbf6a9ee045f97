"""slabinfo, vmallocinfo and allocinfo, by transcriptions of their printf; real ones are in the lab."""

from __future__ import annotations

from pathlib import Path

import pytest

import oomscope
from tests.support import captures, corpus
from tests.support.accounts import notes_of

# mm/slab_common.c cache_show(): "%-17s %6lu %6lu %6u %4u %4d" and tunables, slabdata.
SLABINFO = """\
slabinfo - version: 2.1
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> : slabdata
kmalloc-2k          1500   1600   2048   16    8 : tunables    0    0    0 : slabdata    100    100      0
a cache             20     50    160   25    1 : tunables    0    0    0 : slabdata      2      2      0
"""
# mm/vmalloc.c vmalloc_info_show(); addresses are hashed by %p.
VMALLOCINFO = """\
0x0000000077513420-0x0000000004085f47    8192 acpi_os_map_iomem+0x192/0x1b0 phys=0x000000001ffe1000 ioremap
0x000000004c673611-0x000000004be0055c   16384 n_tty_open+0x2e/0xc0 pages=3 vmalloc N0=3
0x00000000865a0e27-0x00000000fe1c438f 1052672 leak+0x25/0x30 [oomlab] pages=256 vmalloc N0=256
0x00000000865a0e28-0x00000000fe1c4390 1052672 leak+0x25/0x30 [oomlab] pages=256 vmalloc vpages N0=256
0x(____ptrval____)-0x(____ptrval____)   12288 pcpu_get_vm_areas+0x0/0x6f0 vmalloc
"""
# lib/alloc_tag.c allocinfo_show(), alloc_tag_to_text(); version 2.0 marks counters that may be wrong.
ALLOCINFO = """\
allocinfo - version: 2.0
#     <size>  <calls> <tag info>
       49152       12 oomlab.c:68 [oomlab] func:take_page
           0        0 init/main.c:1311 func:do_initcalls
     3176243      900 mm/slub.c:2264 func:alloc_slab_page accurate:no
"""


# mm/slub.c slab_debugfs_show(): 6.1, and 5.14 without stacks.
ALLOC_TRACES = """\
  10007 take_object+0x2c/0x40 [oomlab] waste=0/16 age=254/264/274 pid=1 cpus=0
        take_object+0x2c/0x40 [oomlab]
        write_way+0x4e/0xa0 [oomlab]
        vfs_write+0xe1/0x410

     13 other+0x2/0x4 age=5 pid=1-77 cpus=0-1 nodes=0
        other+0x2/0x4
        vfs_write+0xe1/0x410

"""


def test_alloc_traces_tells_who_holds_objects() -> None:
    """Objects per owner's stack, in both forms."""
    (objects,) = notes_of(ALLOC_TRACES).accounts.cache_objects
    assert objects.objects == 10020
    assert [(stack.texts, count) for stack, count in objects.owners] == [
        (("take_object+0x2c/0x40 [oomlab]", "write_way+0x4e/0xa0 [oomlab]", "vfs_write+0xe1/0x410"), 10007),
        (("other+0x2/0x4", "vfs_write+0xe1/0x410"), 13),
    ]
    without_stacks = "".join(line + "\n" for line in ALLOC_TRACES.splitlines() if "age=" in line)
    (objects,) = notes_of(without_stacks).accounts.cache_objects
    assert [count for _, count in objects.owners] == [10007, 13]


def test_object_owners_decide_who_holds_a_slab(tmp_path: Path) -> None:
    """Beside a report of a slab OOM: the owner of the largest cache's objects is certain, for its folder names it."""
    log = tmp_path / "console.log"
    log.write_bytes(captures.text(corpus.path("085-kdump-kasan-slab-panic.log")))
    (tmp_path / "slabinfo").write_text(SLABINFO)
    traces = tmp_path / "sys/kernel/debug/slab/kmalloc-2k/alloc_traces"
    traces.parent.mkdir(parents=True)
    traces.write_text(ALLOC_TRACES)
    claims = {finding.claim: finding.certainty for finding in oomscope.explain(tmp_path).findings}
    assert claims["take_object [oomlab] holds 10,007 of 10,020 objects of kmalloc-2k (99.9 %)"] == "certain"


def test_slabinfo_tells_pages_per_cache() -> None:
    """Slabs times pages per slab, the largest cache first; names may hold blanks."""
    (told,) = notes_of(SLABINFO).accounts.tables
    assert [(entry.name, entry.amount, entry.count) for entry in told.entries] == [
        ("kmalloc-2k", 800, 1500),
        ("a cache", 2, 20),
    ]


def test_vmallocinfo_tells_pages_per_caller() -> None:
    """Areas of one caller together; what maps no pages takes addresses only."""
    told, addresses = notes_of(VMALLOCINFO).accounts.tables
    assert (addresses.kind, addresses.unit) == ("vmalloc address space", "bytes")
    assert [(entry.name, entry.module, entry.amount, entry.count) for entry in told.entries] == [
        ("leak", "oomlab", 512, 2),
        ("n_tty_open", None, 3, 1),
    ]


@pytest.mark.parametrize("text", [ALLOCINFO, ALLOCINFO.replace("2.0", "1.0"), "\n".join(ALLOCINFO.split("\n")[2:])])
def test_allocinfo_tells_bytes_per_call_site(text: str) -> None:
    """Both versions, and rows whose header was cut off; sites that hold nothing are left out."""
    (told,) = notes_of(text).accounts.tables
    assert [(s.name, s.module, s.amount, s.count, s.place) for s in told.entries] == [
        ("alloc_slab_page", None, 3176243, 900, "mm/slub.c:2264"),
        ("take_page", "oomlab", 49152, 12, "oomlab.c:68"),
    ]


@pytest.mark.parametrize("text", [SLABINFO, VMALLOCINFO, ALLOCINFO], ids=["slabinfo", "vmallocinfo", "allocinfo"])
def test_spoilt_rows_cost_only_themselves(text: str) -> None:
    """A foreign line, a cut row and bytes that are no text are counted, and every other row stays."""
    whole = notes_of(text)
    spoilt = notes_of(text + "\x00\xff garbage\n" + text.splitlines()[-1][:20] + "\n")
    assert spoilt.stats.unknown_lines == 2
    assert spoilt.accounts.tables == whole.accounts.tables != ()


@pytest.mark.parametrize("text", [SLABINFO, VMALLOCINFO, ALLOCINFO], ids=["slabinfo", "vmallocinfo", "allocinfo"])
def test_alone_they_name_their_largest_row(tmp_path: Path, text: str) -> None:
    """Such a file by itself says what it has, and that this tells nothing of an OOM."""
    path = tmp_path / "file"
    path.write_text(text)
    verdict = oomscope.explain(path)
    assert verdict.oom is None
    assert verdict.greatest is None
    told = verdict.accounts[0]
    assert str(told.entries[0]) in verdict.findings[0].claim
    assert "who allocated the pages" in {absent.what for absent in verdict.absent}


def test_beside_a_report_they_name_what_it_cannot(tmp_path: Path) -> None:
    """One case, one story: slab rows by cache, the remainder by call site, else by vmalloc's callers."""
    log = tmp_path / "console.log"
    log.write_bytes(captures.text(corpus.path("086-nfsd-page-leak-88pct.log")))
    slabinfo, vmallocinfo, allocinfo = tmp_path / "slabinfo", tmp_path / "vmallocinfo", tmp_path / "allocinfo"
    slabinfo.write_text(SLABINFO)
    vmallocinfo.write_text(VMALLOCINFO)
    allocinfo.write_text(ALLOCINFO)
    balance = oomscope.explain(log, slabinfo, vmallocinfo).balance
    assert balance is not None
    slab = next(row for row in balance.rows if row.kind == "slab, unreclaimable")
    assert slab.parts == (("kmalloc-2k", 800), ("a cache", 2))
    assert balance.unexplained_parts == (("leak [oomlab]", 512), ("n_tty_open", 3))
    with_sites = oomscope.explain(log, vmallocinfo, allocinfo).balance
    assert with_sites is not None
    assert with_sites.unexplained_parts == (("take_page [oomlab]", 12),)
