"""The kernel's own accounts: real captures of 6.1 and 6.12, and transcriptions of the printf where the lab has none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import oomscope
from oomscope.model.account import BYTES, DMA_BUFFER, MODULE, PER_CPU, UNREFERENCED, ZRAM_DISK, Account
from oomscope.model.reading import Notes
from oomscope.sources import recognise
from tests.support import captures
from tests.support.accounts import notes_of

ACCOUNTS = Path(__file__).parents[1] / "data" / "accounts"
FOLDERS = sorted(ACCOUNTS.iterdir())
SET_ASIDE = [folder for folder in FOLDERS if folder.name.endswith("set-aside")]
FILES = [path for folder in FOLDERS for path in sorted(folder.iterdir()) if path.name != "truth.json"]
# mm/kmemleak.c print_unreferenced(): 6.12, then 5.10 with ages and hashed addresses; 7.2 names a kind of object.
KMEMLEAK = """\
unreferenced object 0xffff888004e3a000 (size 2048):
  comm "cat", pid 106, jiffies 4294941337
  hex dump (first 32 bytes):
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  ................
    6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b a5  kkkkkkkkkkkkkkk.
  backtrace (crc 0):
    take_kmalloc+0x2b/0x40 [oomlab]
    read_way+0x14/0x20 [oomlab]
    proc_reg_read+0x4f/0x90
unreferenced object 0xffff888004e3a800 (size 2048):
  comm "c)a t", pid 107, jiffies 4294941338
  hex dump (first 32 bytes):
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  ................
  backtrace (crc 5f6a1c2d):
    take_kmalloc+0x2b/0x40 [oomlab]
    read_way+0x14/0x20 [oomlab]
    proc_reg_read+0x4f/0x90
unreferenced object 0xffff88800aa01230 (size 96):
  comm "init", pid 1, jiffies 4294667300 (age 31.204s)
  hex dump (first 32 bytes):
    01 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  ................
  backtrace:
    [<00000000bb59ae1d>] other+0x2/0x4
    [<0000000059c11d5c>] vfs_write+0xe1/0x410
unreferenced object (percpu) 0x607fe1b2f0c8 (size 8):
  comm "init", pid 1, jiffies 4294667301
  hex dump (first 8 bytes on cpu 0):
    01 00 00 00 00 00 00 00                          ........
  backtrace (crc 0):
    other+0x2/0x4
    vfs_write+0xe1/0x410
"""
# drivers/dma-buf/dma-buf.c dma_buf_debug_show(): names are user space's, up to 5.10 a size may be zero-padded alike.
BUFINFO = """\

Dma-buf Objects:
size    \tflags   \tmode    \tcount   \texp_name\tino     \tname
08294400\t00000002\t00080007\t00000004\tsystem\t00000011\tcamera preview
\tkernel fence: drm 7 signalled
\tAttached Devices:
\t1c0e000.video-codec
Total 1 devices attached

08294400\t00000002\t00080007\t00000002\tsystem\t00000012\tcamera preview
\tAttached Devices:
Total 0 devices attached

00065536\t00000002\t00080007\t00000001\tdrm\t00000013\t<none>
\tAttached Devices:
Total 0 devices attached


Total 3 objects, 16654336 bytes
"""
# mm/percpu-stats.c percpu_stats_show().
PERCPU_STATS = """\
Percpu Memory Statistics
Allocation Info:
----------------------------------------
  unit_size           :       524288
  static_size         :       188416
  reserved_size       :         8192
  dyn_size            :        32768
  atom_size           :      2097152
  alloc_size          :      2097152

Global Stats:
----------------------------------------
  nr_alloc            :         4000
  nr_dealloc          :          100
  nr_cur_alloc        :         3900
  nr_max_alloc        :         3950
  nr_chunks           :            2
  nr_max_chunks       :            2
  min_alloc_size      :            4
  max_alloc_size      :         8192
  empty_pop_pages     :            7

Per Chunk Stats:
----------------------------------------
Chunk: <- First Chunk
  nr_alloc            :          900
  max_alloc_size      :         8192
  empty_pop_pages     :            0
  first_bit           :           12
  free_bytes          :         4096
  contig_bytes        :         2048
  sum_frag            :          100
  max_frag            :           20
  cur_min_alloc       :            4
  cur_med_alloc       :            8
  cur_max_alloc       :         8192

Chunk:
  nr_alloc            :         3000
  max_alloc_size      :         1024
  empty_pop_pages     :            7
  first_bit           :           12
  free_bytes          :       424288
  contig_bytes        :         2048
  sum_frag            :            0
  max_frag            :            0
  cur_min_alloc       :            4
  cur_med_alloc       :            8
  cur_max_alloc       :         1024

"""
TEXTS = {"kmemleak": KMEMLEAK, "dma_buf bufinfo": BUFINFO, "percpu_stats": PERCPU_STATS}


def ledger_of(notes: Notes, kind: str) -> Account:
    (found,) = notes.accounts.tables
    assert found.kind == kind
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_every_line_of_a_real_file_is_known(path: Path) -> None:
    """Each is of one known format, named as its file is, and no line of it is strange."""
    raw = captures.text(path)
    source = recognise(raw)
    assert source is not None
    name = path.name.removesuffix(".zst")
    assert name.replace("free_", "alloc_").endswith(source.format.rpartition(" ")[2])
    for cut in (7, 1 << 20):
        notes = notes_of(raw, cut)
        assert (notes.stats.unknown_lines, notes.stats.corrupt_records) == (0, 0)


@pytest.mark.parametrize("folder", SET_ASIDE, ids=lambda folder: folder.name)
def test_what_keepers_of_memory_hold(folder: Path) -> None:
    """The compressed disk has what was written to it, of noise; the buffer has the pages that were asked of it."""
    zram = ledger_of(notes_of(captures.text(folder / "zram0.mm_stat")), ZRAM_DISK)
    assert zram.total >= 401 * 65536
    assert "25.1 MiB stored" in zram.entries[0].place
    buffers = ledger_of(notes_of(captures.text(folder / "bufinfo")), DMA_BUFFER)
    assert [(entry.name, entry.amount, entry.count) for entry in buffers.entries] == [("reserved", 1009 * 4096, 1)]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_two_accounts_of_one_machine_agree(folder: Path) -> None:
    """The sums of zoneinfo are the counters of vmstat; buddyinfo and pagetypeinfo are the same free blocks."""
    vmstat, zoneinfo = (notes_of(captures.text(folder / name)).accounts.counters for name in ("vmstat", "zoneinfo"))
    same = [name for name in zoneinfo if name in vmstat and "free" not in name and not name.startswith("numa")]
    assert len(same) > 30
    assert {n: zoneinfo[n] for n in same if abs(zoneinfo[n] - vmstat[n]) > 64} == {}  # the kernel works on meanwhile
    blocks, by_type = (notes_of(captures.text(folder / n)).accounts.free_blocks for n in ("buddyinfo", "pagetypeinfo"))
    assert {(zone.node, zone.zone) for zone in blocks} >= {(zone.node, zone.zone) for zone in by_type}
    assert sum(z.pages for z in blocks) == pytest.approx(sum(z.pages for z in by_type), abs=256)
    assert sum(z.pages for z in blocks) == pytest.approx(zoneinfo["nr_free_pages"], abs=256)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_folder_of_accounts_closes_to_all_of_ram(folder: Path) -> None:
    """Without stacks, log and dump: every page in one row, from the kernel's counters, and what is in none."""
    verdict = oomscope.explain(folder)
    assert verdict.balance is not None
    meminfo = notes_of(captures.text(folder / "meminfo")).accounts.meminfo
    assert meminfo is not None
    assert verdict.balance.ram_pages == meminfo.total_bytes // 4096
    assert sum(row.pages for row in verdict.balance.rows) + verdict.balance.unexplained_pages == verdict.ram_pages
    assert verdict.balance.is_consistent
    huge = {row.kind: row.pages for row in verdict.balance.rows}.get("hugetlb", 0)
    assert huge == (13 * 512 if "set-aside" in folder.name else 0)
    assert {account.kind for account in verdict.accounts} >= {"slab cache", "vmalloc caller", "module"}


@pytest.mark.parametrize("folder", [f for f in FOLDERS if "slab-owners" in f.name], ids=lambda folder: folder.name)
def test_who_freed_objects_is_not_who_holds_them(folder: Path) -> None:
    """free_traces has the lines of alloc_traces; it takes no part, and that is said."""
    verdict = oomscope.explain(folder)
    (objects,) = verdict.cache_objects
    assert objects.objects == 10007
    assert any("take_object [oomlab] holds 10,007 of 10,007 objects" in finding.claim for finding in verdict.findings)
    assert any("who freed objects last" in absent.reason for absent in verdict.absent)
    assert "free_traces" in {told.format for told in verdict.inputs}
    with pytest.raises(oomscope.NothingToExplain):
        oomscope.explain(folder / "free_traces")


def test_kmemleak_tells_bytes_by_stack() -> None:
    """Of all three forms; objects of one stack are one row."""
    told = ledger_of(notes_of(KMEMLEAK), UNREFERENCED)
    assert (told.unit, told.total) == (BYTES, 2 * 2048 + 96 + 8)
    assert [(e.amount, e.count, None if e.stack is None else e.stack.texts[0]) for e in told.entries] == [
        (4096, 2, "take_kmalloc+0x2b/0x40 [oomlab]"),
        (104, 2, "other+0x2/0x4"),
    ]


def test_kmemleak_names_who_leaks(tmp_path: Path) -> None:
    """By the same attribution as stacks of pages: the module's function, its bytes and objects."""
    path = tmp_path / "kmemleak"
    path.write_text(KMEMLEAK)
    verdict = oomscope.explain(path)
    assert verdict.findings[0].claim.startswith("take_kmalloc [oomlab] allocated most")
    assert (str(verdict.accounts[0].entries[0]), verdict.accounts[0].entries[0].count) == ("take_kmalloc [oomlab]", 2)


def test_dma_buf_tells_bytes_by_exporter_and_name() -> None:
    """A name is user space's own; the kernel's last line is the total."""
    told = ledger_of(notes_of(BUFINFO), DMA_BUFFER)
    assert [(e.name, e.place, e.amount, e.count) for e in told.entries] == [
        ("system", "camera preview", 16588800, 2),
        ("drm", "", 65536, 1),
    ]
    cut = notes_of(BUFINFO[: BUFINFO.index("Total 0")])
    assert cut.stats.cut_off
    less = notes_of(BUFINFO.replace("08294400\t00000002\t00080007\t00000002", "junk"))
    assert less.stats.corrupt_records == 1


def test_percpu_stats_tells_what_one_cpu_uses() -> None:
    """The unit less what of it is free, chunk by chunk."""
    told = ledger_of(notes_of(PERCPU_STATS), PER_CPU)
    assert [(e.name, e.amount, e.count) for e in told.entries] == [
        ("first and reserved chunk", 524288 - 4096, 1),
        ("chunks", 524288 - 424288, 1),
    ]


def test_a_chunk_of_unknown_size_is_not_an_empty_one() -> None:
    """Without the unit's size, what is in use is not known: each chunk is a spoilt record, and no row says 0."""
    notes = notes_of(PERCPU_STATS.replace("  unit_size           :       524288\n", ""))
    assert (notes.accounts.tables, notes.stats.corrupt_records) == ((), 2)


def test_modules_tell_size_users_and_taint() -> None:
    """In the forms of m_show(): users by name, none told, a permanent one."""
    text = (
        "oomlab 16384 0 - Live 0xffffffffc0189000 (OE)\n"
        "nf_nat 57344 2 nft_chain_nat,xt_MASQUERADE, Live 0x0000000000000000\n"
        "fixed 4096 - - Live 0x0000000000000000\n"
        "stays 8192 1 [permanent], Loading 0x0000000000000000 (+)\n"
    )
    notes = notes_of(text)
    told = ledger_of(notes, MODULE)
    assert notes.stats.unknown_lines == 0
    assert [(e.name, e.amount, e.count, e.place) for e in told.entries] == [
        ("nf_nat", 57344, 2, ""),
        ("oomlab", 16384, 0, "OE"),
        ("stays", 8192, 1, "+"),
        ("fixed", 4096, 0, ""),
    ]


@pytest.mark.parametrize("name", TEXTS)
def test_transcriptions_are_known_to_the_last_line(name: str) -> None:
    """Recognised as what they are, at any cut."""
    source = recognise(TEXTS[name].encode())
    assert source is not None
    assert source.format == name
    for cut in (1, 5, 1 << 20):
        notes = notes_of(TEXTS[name], cut)
        assert (notes.stats.unknown_lines, notes.stats.corrupt_records, notes.stats.cut_off) == (0, 0, False)


def test_the_same_machine_says_the_same_after_its_accounts_are_json(tmp_path: Path) -> None:
    """Every row of every account is in the JSON, by its kind, with its unit as the key of its amount."""
    from oomscope.report import json_report

    path = tmp_path / "kmemleak"
    path.write_text(KMEMLEAK)
    report = json.loads(json_report.render(oomscope.explain(path, SET_ASIDE[-1])))
    by_kind = {told["kind"]: told for told in report["ledgers"]}
    assert by_kind[UNREFERENCED]["rows"][0]["bytes"] == 4096
    assert by_kind["slab cache"]["rows"][0]["pages"] > 0
    assert sum(zone["pages"] for zone in report["free_blocks"]) > 0


CUT = "MemTotal: 8051520 kB\nMemFree: 222960 kB\nMemAvailable: 367088 kB\nBuffers: 26116 kB\n"


@pytest.mark.parametrize("cached", ["", "Cached:          5718484 kB\nSwapCached:            0 kB\n"])
def test_a_part_of_meminfo_hides_nothing(tmp_path: Path, cached: str) -> None:
    """`head /proc/meminfo`: what it does not show is not said to be in no counter, and nothing is certain."""
    (tmp_path / "meminfo").write_text(CUT + cached)
    verdict = oomscope.explain(tmp_path / "meminfo", page_size_bytes=4096)
    assert verdict.balance is not None
    assert "anon" in verdict.balance.missing
    assert {finding.certainty for finding in verdict.findings} == {"possible"}
    claims = " ".join(finding.claim for finding in verdict.findings)
    assert "in no counter" not in claims.replace("slab) or in no counter", "slab)")
    assert verdict.answer.certainty == "possible"
    assert ("page cache" in {row.kind for row in verdict.balance.rows}) == bool(cached)
