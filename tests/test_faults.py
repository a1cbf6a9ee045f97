"""Inputs on which answers were wrong, endless or none at all: each stands for a kind, and has its right value here."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import zstandard

import oomscope
from fuzz.packed import bugreport_of, tar_of
from oomscope import bounds
from oomscope.errors import InternalError, OomscopeError
from oomscope.report import json_report, terminal
from oomscope.units import bytes_text
from tests.support import captures
from tests.support.archives import put

FAULTS = captures.DATA / "faults"
HEADER = b"[    1.000000] a invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\n"
MOST_S, MOST_MIB = 10, 500


@dataclass(frozen=True)
class Measured:
    """A whole process: how it ended, what it said, what it took."""

    code: int
    out: bytes
    error: str
    cpu_s: float
    mib: float


# Linux counts the memory of who starts a process as that of the process: a small one starts it.
_STARTER = """
import os, sys
child = os.posix_spawn(sys.executable, [sys.executable, "-m", "oomscope", *sys.argv[2:]], os.environ)
_, status, usage = os.wait4(child, 0)
open(sys.argv[1], "w").write(f"{os.waitstatus_to_exitcode(status)} {usage.ru_maxrss} {usage.ru_utime + usage.ru_stime}")
"""


def measured(*words: str | Path) -> Measured:
    """The command as a process of its own."""
    with tempfile.NamedTemporaryFile() as told:
        command = [sys.executable, "-I", "-S", "-c", _STARTER, told.name, *map(str, words)]
        done = subprocess.run(command, capture_output=True, check=True)
        code, kib, cpu_s = Path(told.name).read_text().split()
    return Measured(int(code), done.stdout, done.stderr.decode(), float(cpu_s), int(kib) / 1024)


# --- endless, or more than in line with its length


def zones() -> bytes:
    return HEADER + b"".join(b"[    1.0] Node 0 Z%d free:1kB min:1kB\n" % n for n in range(30_000))


def huge_pages() -> bytes:
    line = b"Node %d hugepages_total=1 hugepages_free=1 hugepages_surp=0 hugepages_size=%dkB\n"
    return HEADER + b"Mem-Info:\n" + b"".join(line % (n % 1000, 1024 + n) for n in range(10_000))


def callers() -> bytes:
    line = b"[   99.000000][T%d] Node 0 DMA free:5kB min:3kB\n"
    return b"".join(line % n for n in range(40_000))


def fields() -> bytes:
    return HEADER + (b"[    1.0] Node 0 DMA free:1kB " + b"a" * 16_000 + b"\n") * 20


def victims() -> bytes:
    line = b"[    1.0] Out of memory: Killed process %d (a) total-vm:1kB, anon-rss:1kB\n"
    return HEADER + b"".join(line % n for n in range(30_000))


def tasks() -> bytes:
    head = b"[    1.0] [  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name\n"
    return HEADER + head + b"".join(b"[    1.0] [%7d]     0 1 1 1 1 0 0 a\n" % n for n in range(100_000))


def events() -> bytes:
    return b"a invoked oom-killer: gfp_mask=0x0, order=0\nMem-Info:\nNode 0 DMA free:5kB min:3kB\n" * 12_000


def short_lines() -> bytes:
    return (HEADER + b"x\n" * 600) * 1000


def blank_lines() -> bytes:
    return HEADER + b"\n" * 2_000_000


def stacks() -> bytes:
    return b"".join(b" f%d+0x1/0x2\n vfs_read+0x1/0x2\nnr_base_pages: %d\n\n" % (n, n % 7 + 1) for n in range(15_000))


def leaks() -> bytes:
    line = b"unreferenced object 0xffff888100000000 (size 64):\n  backtrace:\n    a" + b" " * 60_000 + b"\n"
    return line * 30


def owners() -> bytes:
    return b"      1 a age=" + b"1" * 300_000 + b"\n"


def buddies() -> bytes:
    return b"".join(b"Node %d, zone   Normal " % n + b"     1 " * 11 + b"\n" for n in range(40_000))


def call_sites() -> bytes:
    return b"".join(b"%12d %8d a/b.c:%d func:f%d\n" % (n + 1, 1, n, n) for n in range(50_000))


def frames() -> bytes:
    return zstandard.compress(b"a\n") * 300_000


ENDLESS: dict[str, Callable[[], bytes]] = {
    name: lambda name=name: (FAULTS / name).read_bytes()
    for name in (
        "redos-show_stacks",
        "redos-frame-suffix",
        "redos-log-trace",
        "redos-pagetypeinfo",
        "tar-huge-size.tar",
        "tar-x2a.tar",
        "sparse-log.tar",
        "tar-8GiB-size.tar",
    )
} | {
    made.__name__: made
    for made in (
        zones,
        huge_pages,
        callers,
        fields,
        victims,
        tasks,
        events,
        short_lines,
        blank_lines,
        stacks,
        leaks,
        owners,
        buddies,
        call_sites,
        frames,
    )
}


@pytest.mark.parametrize("name", ENDLESS)
def test_every_input_is_answered_in_line_with_its_length(name: str, tmp_path: Path) -> None:
    """10 s for 10 MB, and a sentence where there is nothing to explain."""
    path = tmp_path / "input"
    path.write_bytes(ENDLESS[name]())
    started = time.process_time()
    try:
        verdict = oomscope.explain(path)
        terminal.render(verdict)
    except OomscopeError as error:
        assert not isinstance(error, InternalError)
    assert time.process_time() - started < MOST_S * max(path.stat().st_size / 10e6, 1)


def long_name() -> bytes:
    entry = tarfile.TarInfo("x")
    entry.type, entry.size = tarfile.GNUTYPE_LONGNAME, 240 << 20
    packer = zstandard.ZstdCompressor(level=1).compressobj()
    return b"".join(
        [packer.compress(entry.tobuf()), *(packer.compress(b"a" * (1 << 20)) for _ in range(240)), packer.flush()]
    )


def spooled_zip() -> bytes:
    frame = zstandard.compress(b"PK\x03\x04" + b"\0" * (64 << 20))
    return frame + zstandard.compress(b"\0" * (256 << 20)) * 10


def packed_events() -> bytes:
    return zstandard.compress(events() * 3)


def stacks_by_the_hundred_thousand() -> bytes:
    return b"".join(b" f%d+0x1/0x2\n vfs_read+0x1/0x2\nnr_base_pages: 1\n\n" % n for n in range(150_000))


@pytest.mark.slow
@pytest.mark.parametrize("made", [long_name, spooled_zip, packed_events, stacks_by_the_hundred_thousand])
def test_memory_is_in_line_with_the_length(made: Callable[[], bytes], tmp_path: Path) -> None:
    """500 MiB for 10 MB unpacked, whatever a container says."""
    path = tmp_path / "input"
    path.write_bytes(made())
    done = measured("explain", path)
    assert done.code in (0, 1, 3)
    assert done.mib < MOST_MIB
    assert done.cpu_s < MOST_S * max(len(made()) / 10e6, 2)
    assert "Traceback" not in done.error
    assert list(tmp_path.iterdir()) == [path]


# --- tracebacks


def _refused(path: Path) -> str:
    with pytest.raises(OomscopeError) as caught:
        oomscope.explain(path)
    assert not isinstance(caught.value, InternalError)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("zip-cd-offset.zip", "its header is damaged"),
        ("zerodiv-alloc_traces", "only alloc_traces"),
        ("elf-core-phoff", "not a core dump"),
        ("elf-core-phoff-2^63-1", "not a core dump"),
        ("elf-phoff-2^64-1", "an ELF image"),
        ("elf-shoff-2^62", "an ELF image"),
        ("elf-shoff-2^64-1", "an ELF image"),
        ("int-stall-order", "without any OOM"),
        ("pages-2^62", "not one of 3 records is whole"),
    ],
)
def test_damage_is_one_sentence(name: str, words: str) -> None:
    """Headers that lead nowhere, numbers that are none, sizes that no machine has."""
    assert words in _refused(FAULTS / name)


@pytest.mark.parametrize("name", ["elf-phoff-2^64-1", "elf-shoff-2^62", "elf-shoff-2^64-1", "elf-core-phoff"])
def test_damaged_debug_info_is_one_sentence(name: str) -> None:
    """As --vmlinux, too."""
    with pytest.raises(OomscopeError):
        oomscope.explain(FAULTS / "elf-core-phoff", vmlinux=FAULTS / name)


def test_numbers_that_are_none_cost_their_row() -> None:
    """`--5` in a task row, a size of thousands of digits: the event is told, the number is distrusted."""
    verdict = oomscope.explain(FAULTS / "int-task-minus")
    assert verdict.oom is not None
    assert verdict.oom.analysis is not None
    (task,) = verdict.oom.analysis.event.processes
    assert (task.pid, task.values["rss"], "total_vm" in task.values) == (123, 2000, False)
    verdict = oomscope.explain(FAULTS / "int-vmalloc-size")
    assert verdict.oom is not None
    assert verdict.oom.analysis is not None
    assert verdict.oom.analysis.event.asked.size_bytes is None
    assert len(verdict.oom.analysis.event.distrusted) == 1


def test_a_record_beyond_memory_is_damage_and_the_others_count(tmp_path: Path) -> None:
    """2^63-1 pages are refused and counted; the greatest of the rest is named, in every format."""
    verdict = oomscope.explain(FAULTS / "pages-2^63-1")
    assert verdict.greatest is not None
    assert (verdict.greatest.pages, verdict.inputs[0].corrupt_records, verdict.partial) == (5, 1, True)
    out = tmp_path / "x.parquet"
    assert measured("export", FAULTS / "pages-2^63-1", FAULTS / "meminfo-big", "--as", "parquet", "-o", out).code == 0


def test_sums_of_large_counts_are_exact(tmp_path: Path) -> None:
    """As many pages as are believed, in more stacks than doubles can add up."""
    path = tmp_path / "stacks"
    path.write_text("".join(f" f{n}+0x1/0x2 [m]\nnr_base_pages: {bounds.PAGES - n % 2}\n\n" for n in range(5000)))
    assert oomscope.explain(path).counted_pages == 5000 * bounds.PAGES - 2500


def test_a_row_of_pagetypeinfo_that_is_none(tmp_path: Path) -> None:
    """`1>0` is no number of blocks."""
    path = tmp_path / "pagetypeinfo"
    path.write_text("Page block order: 9\nPages per block:  512\nNode    0, zone   Normal, type  Unmovable 1>0 3\n")
    assert "only pagetypeinfo" in _refused(path)


def test_a_zip_without_its_beginning(tmp_path: Path) -> None:
    """Its directory leads before the file."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("a", b"x" * 300)
    path = tmp_path / "case.zip"
    path.write_bytes(b"PK\x05\x06" + out.getvalue()[100:])
    assert "its header is damaged" in _refused(path)


def test_what_goes_wrong_costs_that_input_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug met in one file of a folder is told as one, and the page_owner data beside it are explained."""
    put(tmp_path, "page_owner", captures.text(captures.BEFORE_6_12)[:200_000])
    put(tmp_path, "buddyinfo", b"Node 0, zone   Normal      1      1 \n")

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("oomscope.sources.procfs.buddyinfo.FreeArea", broken)
    verdict = oomscope.explain(tmp_path)
    assert verdict.greatest is not None
    (told,) = [each for each in verdict.absent if each.what.endswith("buddyinfo")]
    assert "ZeroDivisionError" in told.reason


def test_a_bug_met_while_judging_costs_one_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reading that all others can be judged without is left out and named."""
    put(tmp_path, "page_owner", captures.text(captures.BEFORE_6_12)[:200_000])
    put(tmp_path, "slabinfo", b"slabinfo - version: 2.1\na 1 2 64 64 1 : tunables 0 0 0 : slabdata 7 7 0 \n")
    from oomscope.attribution.side_accounts import side_accounts as real

    def broken(evidence: oomscope.Evidence) -> object:
        if any(reading.format == "slabinfo" for reading in evidence.readings):
            raise KeyError("x")
        return real(evidence)

    monkeypatch.setattr("oomscope.attribution.facts.side_accounts", broken)
    verdict = oomscope.explain(tmp_path)
    assert verdict.greatest is not None
    assert any("slabinfo" in each.what and "a bug in oomscope" in each.reason for each in verdict.absent)


def test_a_bug_is_one_sentence_and_debug_shows_the_traceback(tmp_path: Path) -> None:
    """Exit code 3; what to do stands in it."""
    put(tmp_path, "buddyinfo", b"Node 0, zone   Normal      1      1 \n")
    script = (
        "import sys, oomscope.sources.procfs.buddyinfo as b\n"
        "b.FreeArea = None\n"
        "from oomscope.cli import main\n"
        "sys.argv = ['oomscope', 'explain', *sys.argv[1:]]\n"
        "main()\n"
    )
    for words, lines in (((), 1), (("--debug",), 3)):
        command = [sys.executable, "-c", script, str(tmp_path / "buddyinfo"), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 3
        assert "this is a bug in oomscope; --debug shows the traceback" in done.stderr.splitlines()[-1]
        assert done.stderr.count("\n") >= lines
        assert ("Traceback" in done.stderr) == bool(words)


# --- wrong numbers


@pytest.mark.parametrize("name", ["ppc64le", "ppc-oom"])
def test_pages_of_64_kib_are_known_on_powerpc(name: str) -> None:
    """By the release's build and by the report's free lists, whatever DirectMap lines there are."""
    verdict = oomscope.explain(FAULTS / name)
    assert verdict.kernel.page_size_bytes == 65536
    if name == "ppc64le":
        assert verdict.greatest is not None
        assert verdict.greatest.size_bytes == 500_000 * 65536
        assert f"{verdict.greatest.share_of_ram:.3f}" == "0.478"


def test_a_huge_page_of_2_mib_proves_no_page_size() -> None:
    """Of arm64 alone nothing is claimed in bytes; 4 KiB is named as what is usual."""
    verdict = oomscope.explain(FAULTS / "arm64-64k")
    assert verdict.greatest is not None
    assert (verdict.greatest.size_bytes, verdict.greatest.share_of_ram) == (None, None)
    assert verdict.kernel.page_size_assumed_bytes == 4096
    told = oomscope.explain(FAULTS / "arm64-64k", page_size_bytes=65536)
    assert told.greatest is not None
    assert bytes_text(told.greatest.size_bytes or 0) == "30.5 GiB"


@pytest.mark.parametrize("name", ["sem-dma32-docker", "sem-dma32-root", "sem-movable-hidden-root"])
def test_a_containers_cpuset_confines_nothing_by_its_name(name: str) -> None:
    """CONSTRAINT_NONE is the kernel's own word."""
    verdict = oomscope.explain(FAULTS / name)
    assert verdict.oom is not None
    assert (verdict.oom.oom_class, verdict.oom.certainty) == ("lowmem-zone", "likely")


def test_all_of_the_highatomic_reserve_is_out_of_reach_before_6_13() -> None:
    """220000 - 165888 - 28 kB are below min: no fragmentation."""
    verdict = oomscope.explain(FAULTS / "sem-highatomic-1pct-order3-frag")
    assert verdict.oom is not None
    assert verdict.oom.analysis is not None
    (zone,) = verdict.oom.analysis.zones
    assert (zone.usable_pages, zone.passes) == ((220_000 - 165_888 - 28) // 4, False)
    assert verdict.oom.oom_class == "user-anon"


def test_isolated_files_are_no_process_memory() -> None:
    """9.2 GiB of it is isolated(file)."""
    verdict = oomscope.explain(FAULTS / "sem-isolated-file")
    assert verdict.oom is not None
    assert verdict.oom.oom_class == "page-cache"
    claims = {finding.claim.split(":")[0]: finding.pages for finding in verdict.findings}
    assert claims == {"page cache": 2_400_200, "process memory (anonymous)": 900_000}


def test_zswap_is_in_ram_and_zswapped_is_not() -> None:
    """The compressed copies fill the group; what they stand for heads no list."""
    verdict = oomscope.explain(FAULTS / "sem-memcg-zswap")
    assert verdict.oom is not None
    assert "filled with zswap (compressed, in RAM) (848.8 MiB" in " ".join(verdict.oom.story)
    assert "zswapped" not in terminal.render(verdict)


def test_counts_of_events_are_no_bytes(tmp_path: Path) -> None:
    """pgfault, workingset_refault, pgscan: in no row of bytes."""
    text = (FAULTS / "sem-memcg-zswap").read_text()
    rows = "".join(
        f"[  100.000004] {name} 15000000\n" for name in ("pgfault", "workingset_refault_anon", "pgscan_kswapd")
    )
    path = tmp_path / "log"
    path.write_text(text.replace("[  100.000004] slab 2000\n", f"[  100.000004] slab 2000\n{rows}"))
    verdict = oomscope.explain(path)
    told = json_report.to_json(verdict)["oom"]["memcg"]
    assert told["stat_events"] == {"pgfault": 15000000, "workingset_refault_anon": 15000000, "pgscan_kswapd": 15000000}
    assert "pgfault" not in told["stat_bytes"]
    assert "pgfault" not in terminal.render(verdict)


def test_a_log_has_no_census() -> None:
    """Nobody looked at every page frame where there is a report alone, or counters."""
    for path in (*sorted((captures.DATA / "corpus").glob("00*.zst")), FAULTS / "vm38"):
        assert "every page frame" not in terminal.render(oomscope.explain(path))


@pytest.mark.parametrize(
    ("name", "rows"),
    [("vm38", {"kernel stacks": 16_000, "anon": 101_000}), ("thp310", {"kernel stacks": 16_000, "anon": 205_800})],
)
def test_counters_of_old_kernels_mean_what_they_meant(name: str, rows: dict[str, int]) -> None:
    """Before 4.8 nr_kernel_stack counts stacks; before 4.5 nr_anon_pages leaves huge pages out."""
    verdict = oomscope.explain(FAULTS / name)
    assert verdict.balance is not None
    assert {row.kind: row.pages for row in verdict.balance.rows if row.kind in rows} == rows


def test_two_counts_of_free_memory_that_differ_are_not_mixed(tmp_path: Path) -> None:
    """A container's meminfo beside its host's vmstat: no page is missing that only one of them counts."""
    put(tmp_path, "meminfo", b"MemTotal: 8000004 kB\nMemFree: 6000004 kB\nAnonPages: 1600000 kB\nSlab: 1 kB\n")
    put(tmp_path, "vmstat", b"nr_free_pages 500001\nnr_zone_inactive_anon 0\nnr_anon_pages 400000\n")
    verdict = oomscope.explain(tmp_path)
    assert verdict.balance is not None
    assert verdict.balance.unexplained_pages == 100_000
    assert "nr_free_pages 500,001" in verdict.balance.notes[0]


def test_what_is_reserved_makes_the_rest_uncertain(tmp_path: Path) -> None:
    """Deferred initialisation leaves 50 of 50 GiB reserved: that 100 MiB are in no counter explains little."""
    path = tmp_path / "log"
    path.write_text(
        "kthreadd invoked oom-killer: gfp_mask=0x16040c0(GFP_KERNEL|__GFP_COMP|__GFP_NOTRACK), nodemask=7, order=0, "
        "oom_score_adj=0\nMem-Info:\nactive_anon:0 inactive_anon:0 isolated_anon:0\n active_file:0 inactive_file:0 "
        "isolated_file:0\n unevictable:0 dirty:0 writeback:0 unstable:0\n slab_reclaimable:5 slab_unreclaimable:73\n"
        " mapped:0 shmem:0 pagetables:0 bounce:0\n free:0 free_pcp:0 free_cma:0\n"
        "Node 7 DMA free:0kB min:0kB low:0kB high:0kB present:52428800kB managed:110016kB kernel_stack:1152kB\n"
        "0 pages in swap cache\nFree swap  = 0kB\nTotal swap = 0kB\n819200 pages RAM\n0 pages HighMem/MovableOnly\n"
        "817481 pages reserved\n"
    )
    verdict = oomscope.explain(path)
    assert verdict.oom is not None
    assert verdict.oom.certainty != "certain"
    assert "817,481 pages more are reserved" in " ".join(verdict.oom.story)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("meminfo", b"MemTotal: 1004 kB\nMemFree: 100 kB\nSlab: 5000 kB\nSUnreclaim: 5000 kB\n"),
        ("meminfo", b"MemTotal: 1004 kB\nMemFree: 99999999 kB\nSlab: 50 kB\n"),
    ],
)
def test_no_part_is_larger_than_its_whole(name: str, text: bytes, tmp_path: Path) -> None:
    """A damaged counter: no percentage, and nothing is certain that rests on it."""
    put(tmp_path, name, text)
    put(tmp_path, "buddyinfo", b"Node 0, zone   Normal      1      1 99999999 \n")
    verdict = oomscope.explain(tmp_path)
    told = terminal.render(verdict)
    assert "more than all of RAM" in told
    assert not [percent for percent in re.findall(r"([\d.]+) %", told) if float(percent) > 100]
    assert {f.certainty for f in verdict.findings if "of RAM" in f.claim} == {"possible"}


def test_a_damaged_counter_of_a_report_has_no_share(tmp_path: Path) -> None:
    """14.9 TiB of slab on a machine of 15.6 GiB."""
    path = tmp_path / "log"
    text = (FAULTS / "sem-isolated-file").read_text()
    path.write_text(re.sub(r"slab_unreclaimable:\d+", "slab_unreclaimable:4000000000", text))
    verdict = oomscope.explain(path)
    assert verdict.oom is not None
    assert verdict.oom.certainty == "possible"
    assert not [percent for percent in re.findall(r"([\d.]+) %", terminal.render(verdict)) if float(percent) > 100]


def test_a_damaged_counter_of_a_memory_cgroup_fills_nothing(tmp_path: Path) -> None:
    """9.1 TiB of anonymous memory in a group of a GiB."""
    path = tmp_path / "log"
    path.write_text(re.sub(r"(\] anon )\d+", r"\g<1>9999999999999", (FAULTS / "sem-memcg-zswap").read_text()))
    verdict = oomscope.explain(path)
    assert verdict.oom is not None
    assert "filled with anon" not in " ".join(verdict.oom.story)


def test_every_unit_of_the_kernel_is_read() -> None:
    """lib/string_helpers.c string_get_size()."""
    verdict = oomscope.explain(FAULTS / "units-pib")
    assert verdict.oom is not None
    assert verdict.oom.analysis is not None
    sizes = {site.function: site.size_bytes for site in verdict.oom.analysis.event.call_sites}
    assert sizes == {"foo": 3 << 49, "foo2": 3 << 59, "bar": 12 << 10}


def test_two_copies_of_an_event_are_one() -> None:
    """Without stamps, by its numbers."""
    assert len(oomscope.explain(FAULTS / "dup").events) == 1


@pytest.mark.parametrize(
    ("size", "text"),
    [(1023, "1023 B"), (1_048_575, "1.0 MiB"), (1 << 30, "1.0 GiB"), ((1 << 40) - 1, "1.0 TiB"), (3 << 59, "1.5 EiB")],
)
def test_sizes_are_rounded_into_the_unit_that_they_reach(size: int, text: str) -> None:
    """1024.0 KiB is 1.0 MiB."""
    assert bytes_text(size) == text


def test_a_legal_archive_after_one_that_is_too_deep_is_read(tmp_path: Path) -> None:
    """Depth is of one archive, not of all of them together."""
    deep = tar_of({"x": b"x"})
    for _ in range(bounds.ARCHIVE_DEPTH + 1):
        deep = tar_of({"inner": deep})
    stacks_text = b" f+0x1/0x2 [m]\nnr_base_pages: 7\n\n"
    path = tmp_path / "case.tar"
    path.write_bytes(tar_of({"deep": deep, "legal": tar_of({"show_stacks": stacks_text})}))
    assert oomscope.explain(path).counted_pages == 7


@pytest.mark.parametrize("code", [0x61C, 0x200B, 0xFEFF, 0xE0041, 0x202E])
def test_what_nobody_can_see_is_shown(code: int, tmp_path: Path) -> None:
    """Direction marks, zero-width blanks, tag characters in a name from outside."""
    path = tmp_path / "stacks"
    path.write_text(f" evil{chr(code)}name+0x1/0x2 [m]\nnr_base_pages: 7\n\n")
    assert chr(code) not in terminal.render(oomscope.explain(path))


def test_zones_of_a_file_are_shown_as_far_as_asked(tmp_path: Path) -> None:
    """--top bounds the table of free blocks, too."""
    path = tmp_path / "buddyinfo"
    path.write_bytes(buddies()[:200_000] + b"")
    put(tmp_path, "meminfo", b"MemTotal: 8000004 kB\nMemFree: 100 kB\n")
    text = terminal.render(oomscope.explain(tmp_path), top=3)
    assert text.count(" Normal") <= 4


def test_beyond_a_bound_is_counted_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stacks, rows, zones: what is kept is explained, how much is not stands under Not known; totals stay true."""
    monkeypatch.setattr("oomscope.bounds.STACKS", 3)
    monkeypatch.setattr("oomscope.bounds.NAMES", 2)
    put(tmp_path, "show_stacks", stacks()[:1000])
    put(tmp_path, "allocinfo", b"".join(b"%12d %8d a/b.c:%d func:f%d\n" % (10, 1, n, n) for n in range(5)))
    verdict = oomscope.explain(tmp_path)
    told = [each.what for each in verdict.absent]
    assert any("stacks of" in what for what in told)
    assert any(what.startswith("3 rows of") for what in told)
    (sites,) = [each for each in verdict.accounts if each.kind == "call site"]
    assert sites.total == 50


def test_what_was_read_before_an_error_counts() -> None:
    """A stream that breaks off with EIO is explained as far as it went, and the error is told."""
    from oomscope.io.input import Stream

    class Broken(io.RawIOBase):
        def __init__(self) -> None:
            self._left = [b" f+0x1/0x2 [m]\nnr_base_pages: 7\n\n" * 100]

        def read(self, size: int = -1) -> bytes:  # noqa: ARG002
            if self._left:
                return self._left.pop()
            raise OSError(5, "Input/output error")

    stream = Stream("x", Broken(), size_bytes=None)
    assert stream.head.count(b"nr_base_pages") == 100
    assert "input/output error" in (stream.defect or "")


def test_a_file_that_shrinks_or_goes_while_workers_read_it(tmp_path: Path) -> None:
    """What is there is counted; that the rest is gone is told."""
    from oomscope.attribution.selection import Selection
    from oomscope.pipeline import parallel
    from oomscope.sources.page_owner.dump import SEPARATOR, PageOwnerText

    path = tmp_path / "dump"
    text = captures.text(captures.AFTER_6_12)[: 12 << 20]
    path.write_bytes(text)
    with path.open("rb") as file:
        parts = list(parallel.file_parts(file.fileno(), len(text), SEPARATOR))
        path.unlink()
        whole = parallel.tally_in_workers(
            PageOwnerText(), parts, Selection(), ranking_only=True, on_part=lambda _: None
        )
        assert whole.defect is None
        os.truncate(f"/proc/self/fd/{file.fileno()}", len(text) // 2)
        part = parallel.tally_in_workers(PageOwnerText(), parts, Selection(), ranking_only=True, on_part=lambda _: None)
    assert "became shorter" in (part.defect or "")
    assert whole.counts.blocks is not None
    assert part.counts.blocks is not None
    assert whole.counts.blocks.sum() > 10_000
    assert whole.counts.blocks.sum() * 0.4 < part.counts.blocks.sum() < whole.counts.blocks.sum() * 0.6


def test_few_descriptors_are_enough_or_one_sentence() -> None:
    """`ulimit -n 12`."""
    for words in (f"explain {captures.AFTER_6_12}", f"triage {FAULTS}"):
        shell = f"ulimit -n 12; exec {sys.executable} -m oomscope {words}"
        done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr
        assert done.returncode == 0 or done.stderr.count("\n") == 1


@pytest.mark.parametrize(("at", "value", "says"), [(8, 9, "compression is not known"), (6, 1, "encrypted")])
def test_a_member_that_cannot_be_unpacked_costs_itself_alone(at: int, value: int, says: str, tmp_path: Path) -> None:
    """Deflate64, a password: the file is named, the log beside it is explained."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("bad.txt", b"x" * 300)
        made.writestr("show_stacks", b" f+0x1/0x2 [m]\nnr_base_pages: 7\n\n")
    raw = bytearray(out.getvalue())
    raw[at] = value
    raw[raw.index(b"PK\x01\x02") + at + 2] = value
    path = tmp_path / "case.zip"
    path.write_bytes(raw)
    verdict = oomscope.explain(path)
    assert verdict.counted_pages == 7
    assert any("bad.txt" in each.what and says in each.reason for each in verdict.absent)


def test_global_headers_of_a_tar_are_bounded(tmp_path: Path) -> None:
    """Each member would get a copy of all of them."""
    out = io.BytesIO()
    headers = {f"k{n}": "v" for n in range(bounds.ARCHIVE_GLOBAL_HEADERS + 1)}
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, pax_headers=headers) as made:
        entry = tarfile.TarInfo("show_stacks")
        entry.size = 33
        made.addfile(entry, io.BytesIO(b" f+0x1/0x2 [m]\nnr_base_pages: 7\n\n"))
    path = tmp_path / "case.tar"
    path.write_bytes(out.getvalue())
    assert "global headers" in _refused(path)


def test_a_section_beyond_its_bound_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a bugreport: its beginning counts, and that there is more is no secret."""
    monkeypatch.setattr("oomscope.bounds.SECTION_BYTES", 2 << 20)
    text = b" f+0x1/0x2 [m]\nnr_base_pages: 7\n\n" + stacks() * 4
    assert len(text) > bounds.SECTION_BYTES
    path = tmp_path / "bugreport.txt"
    path.write_bytes(bugreport_of({"show_stacks": text}))
    verdict = oomscope.explain(path)
    assert verdict.partial
    assert any("more than 2.0 MiB" in f"{each.what} {each.reason}" for each in verdict.absent)
