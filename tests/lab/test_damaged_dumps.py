"""Real dumps with bytes overwritten, cut short, or asked wrongly: an answer that says so, or one sentence."""

from __future__ import annotations

import random
import re
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import drgn
import pytest
from drgn.helpers.linux.mm import follow_phys

import oomscope
from lab.scenarios import COMPRESSED, CORE_FILES
from oomscope.attribution import timeline
from oomscope.attribution.selection import Selection
from oomscope.errors import CorruptInput
from oomscope.model.verdict import Verdict
from oomscope.pipeline import memory
from oomscope.sources.vmcore import elf, kdump, vmalloc, vmcoreinfo
from oomscope.sources.vmcore.dump import Dump
from oomscope.sources.vmcore.opening import open_dump
from oomscope.sources.vmcore.sections import sections
from oomscope.sources.vmcore.stack_depot import StackDepot
from oomscope.verdict import Question, judge
from tests.lab.test_dumps import dump_of, explained, vmlinux_of
from tests.support.lab_cases import CASES, Case, each

UNTOLD = [case for case in CASES if case.kernel.endswith("-debian") and case.end == "panic" and case.has("core")]
SPOILT = [case for case in CASES if case.scenario == "page-panic" and case.kernel in ("6.1", "6.12")]
CUT = [*SPOILT, *(case for case in CASES if case.scenario == "tracked-pipe-panic")]
COMPRESSED_CASES = [case for case in CASES if case.has("vmcore") or case.scenario == "many-paths"]
# What of a cut dump is not there, in one sentence: which part, and how much of the file.
LACKS = re.compile(
    r"[^\n]* (is not in it|are not in it|cannot be read)[^\n]*"
    r"; cut short: [\d,]+ of (more than )?[\d,]+ (bytes|pages) are there(; copy the file again)?"
)
PT_LOAD = 1
HOLES_BYTES = 4 << 20  # at most, between a small guest's segments of memory
ROUNDS = 8
DEADLINE_S = 60
Place = Callable[[Dump], tuple[int, int]]


def page_ext(dump: Dump) -> tuple[int, int]:
    """A section's entries, by address and size."""
    section = sections(dump)[1]
    assert section.page_ext_at is not None
    return section.page_ext_at, section.pages * (dump.number("page_ext_size") or 0)


def depot(dump: Dump) -> tuple[int, int]:
    """The first pool of stacks."""
    return StackDepot(dump)._pools()[0], 4 << 12


def section_table(dump: Dump) -> tuple[int, int]:
    """The first root of the table of sections."""
    return int(dump.words_at(dump.prog["mem_section"].value_(), 1)[0]), 4 * 32


def struct_pages(dump: Dump) -> tuple[int, int]:
    """A section's struct pages."""
    section = sections(dump)[1]
    return section.struct_page_at, section.pages * (dump.size("struct page") or 64)


def _overwritten(case: Case, place: Place, seed: int) -> Verdict:
    """The verdict on the dump with some bytes at a place replaced by chance."""
    dump = open_dump(dump_of(case))
    at, size = place(dump)
    chance = random.Random(seed)
    spoilt = bytearray(dump.prog.read(at, size))
    for _ in range(chance.choice([1, 8, 200])):
        spoilt[chance.randrange(size)] = chance.randrange(256)
    dump.prog.add_memory_segment(at, size, lambda _address, count, offset, _physical: spoilt[offset : offset + count])
    readings = memory._read(dump, "spoilt", Selection(), ranking_only=False, progress=None)
    return judge(timeline.build(tuple(readings)), Question(), Selection())


@pytest.mark.parametrize("place", [page_ext, depot, section_table, struct_pages])
@pytest.mark.parametrize("case", each(SPOILT))
def test_bytes_overwritten_never_pass_unnoticed(case: Case, place: Place) -> None:
    """No crash, no hang; where a number differs from the sound dump's, the verdict says that something is wrong."""
    sound = explained(case)
    said = {finding.claim for finding in sound.findings}
    for seed in range(ROUNDS):
        began = time.monotonic()
        try:
            verdict = _overwritten(case, place, seed)
        except oomscope.OomscopeError:
            continue
        assert time.monotonic() - began < DEADLINE_S
        if verdict.counted_pages == sound.counted_pages and verdict.balance == sound.balance:
            continue
        new = [f.claim for f in verdict.findings if "inconsistent" in f.claim and f.claim not in said]
        assert verdict.partial or new, f"seed {seed}: {verdict.counted_pages} instead of {sound.counted_pages}"


@pytest.mark.parametrize("case", each(UNTOLD))
def test_what_only_looks_like_the_kernels_note_is_passed_over(case: Case, tmp_path: Path) -> None:
    """Where QEMU was not told of VMCOREINFO: a program's own bytes, a spoilt note, an older kernel's."""
    spoilt = Path(shutil.copy(dump_of(case), tmp_path / "core"))
    (text,) = vmcoreinfo.in_memory(spoilt)
    told = vmcoreinfo.of(open_dump(dump_of(case)).prog)
    elsewhere = text.replace(told["SYMBOL(init_uts_ns)"].encode(), f"{int(told['SYMBOL(_stext)'], 16):x}".encode())
    head = struct.Struct("<III")
    name = b"VMCOREINFO\0\0"
    looks = [
        name + text[:10] + b"\0",
        head.pack(11, len(text) + 50, 0) + name + text + b"\0",
        head.pack(11, 1 << 30, 0) + name + text + b"\0",
        head.pack(11, len(elsewhere), 0) + name + elsewhere + b"\0",
    ]
    with spoilt.open("r+b") as file:
        file.seek(32)
        (program_headers_at,) = struct.unpack("<Q", file.read(8))
        file.seek(program_headers_at + 56 + 8)  # p_offset of the first segment that is memory: what is below 640 KiB
        (memory_at,) = struct.unpack("<Q", file.read(8))
        for place, look in enumerate(looks):
            file.seek(memory_at + (16 + 2 * place) * 4096)
            assert file.write(look.ljust(8192, b"\0")) == 8192
    assert vmcoreinfo.in_memory(spoilt) == [elsewhere, text]
    assert vmcoreinfo.of(open_dump(spoilt).prog) == told


@pytest.mark.parametrize("case", each(SPOILT))
def test_a_list_that_goes_round_in_a_circle_ends(case: Case) -> None:
    """A vmalloc area whose successor is itself: the answer comes, and says which list it was."""
    dump = open_dump(dump_of(case))
    head = next(iter(vmalloc._lists(dump))).value_()
    node = int(dump.words_at(head, 1)[0])
    itself = node.to_bytes(8, "little")
    dump.prog.add_memory_segment(node, 8, lambda _address, count, offset, _physical: itself[offset : offset + count])
    readings = memory._read(dump, "spoilt", Selection(), ranking_only=False, progress=None)
    verdict = judge(timeline.build(tuple(readings)), Question(), Selection())
    assert any("circle" in absent.reason for absent in verdict.absent)
    assert verdict.partial
    assert verdict.counted_pages == explained(case).counted_pages


def _what_is_left(case: Case, whole: Path, part: float, cut: Path) -> Verdict | None:
    """The verdict on the first part of a dump; None where one sentence says that the kernel or its log is not in it.

    Where the kernel lies is drawn at each boot (KASLR): as long as its image is there, with the log in it, and what
    tells where it lies, there is an answer.
    """
    with whole.open("rb") as source, cut.open("wb") as target:
        target.write(source.read(int(whole.stat().st_size * part)))
    try:
        verdict = oomscope.explain(cut)
    except oomscope.NothingToExplain as error:
        assert case.end == "alive", "the log of a panic has an OOM in it"
        assert "\n" not in str(error)
        return None
    except oomscope.OomscopeError as error:
        assert error.exit_code == 3
        assert LACKS.fullmatch(str(error))
        assert "tells where the kernel lies" in str(error) or not _has_image(case, cut)
        return None
    assert verdict.partial
    assert any("cut short: " in absent.reason for absent in verdict.absent)
    return verdict


def _has_image(case: Case, cut: Path) -> bool:
    """Whether the last page of the kernel's image, and so all before it, is in the file."""
    dump = open_dump(dump_of(case))
    end = dump.symbols.address_of("_end")
    assert end is not None
    last = int(follow_phys(dump.prog["init_mm"].address_of_(), end - 1))
    if kdump.is_kdump(cut):
        try:
            return len(kdump.Kdump(cut).read(last, 1, 0, True)) == 1
        except (drgn.FaultError, CorruptInput):
            return False
    found = elf.headers(cut)
    assert found is not None
    memory = [segment for segment in found.segments if segment.kind == PT_LOAD]
    lacking_bytes = memory[-1].offset + memory[-1].size - cut.stat().st_size
    return last + HOLES_BYTES < sum(segment.size for segment in memory) - lacking_bytes


@pytest.mark.parametrize("case", each(CUT))
@pytest.mark.parametrize("part", [0.99, 0.9, 0.5, 0.1, 0.01])
def test_a_core_cut_short_gives_what_is_left(case: Case, part: float, tmp_path: Path) -> None:
    """The kernel log first, with the whole OOM report in it, then what else is there, and what is not."""
    verdict = _what_is_left(case, dump_of(case), part, tmp_path / "core")
    sound = explained(case).oom
    assert sound is not None
    if verdict is not None:
        assert verdict.oom is not None
        assert verdict.oom.analysis == sound.analysis


@pytest.mark.parametrize("name", ["vmcore", CORE_FILES[COMPRESSED]])
@pytest.mark.parametrize("part", [0.99, 0.9, 0.5, 0.1, 0.01])
@pytest.mark.parametrize("case", each(COMPRESSED_CASES))
def test_a_compressed_dump_cut_short_gives_what_is_left(case: Case, part: float, name: str, tmp_path: Path) -> None:
    """Makedumpfile's form, flattened or not: the same, without a word of the library that reads whole ones."""
    whole = case.folder / name
    if not whole.exists():
        pytest.skip(f"{case} has no {name}")
    verdict = _what_is_left(case, whole, part, tmp_path / name)
    sound = oomscope.explain(whole)
    if verdict is not None and verdict.culprits:
        assert verdict.culprits[0].culprit == sound.culprits[0].culprit
        assert verdict.culprits[0].pages <= sound.culprits[0].pages
    elif verdict is not None:
        assert verdict.oom is not None
        assert sound.oom is not None
        assert verdict.oom.analysis == sound.oom.analysis


@pytest.mark.parametrize("case", each([case for case in COMPRESSED_CASES if case.has("vmcore")]))
@pytest.mark.parametrize("half", [0, 1])
def test_one_part_of_a_split_dump_gives_what_is_in_it(case: Case, half: int, tmp_path: Path) -> None:
    """As `makedumpfile --split` writes it: page frames of a half, with all bitmaps; the other part is said to lack."""
    part = tmp_path / "part"
    part.write_bytes(_part_of((case.folder / "vmcore").read_bytes(), half))
    try:
        verdict = oomscope.explain(part)
    except oomscope.OomscopeError as error:
        assert re.fullmatch(
            r"[^\n]* (is|are) not in it[^\n]*; one part of a split dump: page frames [\d,]+ to [\d,]+ are in others",
            str(error),
        )
    else:
        assert verdict.partial
        assert any("one part of a split dump" in absent.reason for absent in verdict.absent)


@pytest.mark.parametrize("case", each([case for case in COMPRESSED_CASES if case.has("vmcore")]))
def test_both_parts_of_a_split_dump_are_the_whole(case: Case, tmp_path: Path) -> None:
    """Given together, in whatever order, they are read as one: the same holders with the same pages, nothing lacks."""
    whole = (case.folder / "vmcore").read_bytes()
    parts = [tmp_path / "dumpfile.2", tmp_path / "dumpfile.1"]
    for path, half in zip(parts, (1, 0), strict=True):
        path.write_bytes(_part_of(whole, half))
    together, sound = oomscope.explain(*parts), oomscope.explain(case.folder / "vmcore")
    assert together.consumers == sound.consumers
    assert together.oom is not None
    assert sound.oom is not None
    assert replace(together.oom, origin=None) == replace(sound.oom, origin=None)
    assert together.balance == sound.balance
    assert any("read with dumpfile.1" in unknown.reason for unknown in together.absent)


# Where in the file, and what: fields of makedumpfile's headers (diskdump_mod.h), and lines of VMCOREINFO.
HEADER_DAMAGE = {
    "block_size": (428, struct.pack("<i", 65536)),
    "bitmap_blocks": (436, struct.pack("<I", 7000)),
    "offset_vmcoreinfo": (4096 + 32, struct.pack("<Q", 1 << 63)),
}
VMCOREINFO_DAMAGE = {
    b"PAGESIZE=4096": b"PAGESIZE=4611686018427387904",
    b"OSRELEASE=": b"OSRELEASF=",
    b"SYMBOL(kallsyms_names)=": b"SYMBOL(kallsyms_naems)=z",
    b"NUMBER(phys_base)=": b"NUMBER(phys_base)=99999999999999999999",
}
CUTS_IN_HEADERS = (5, 4097, 8193, 32769, 40000, 53248)


@pytest.mark.parametrize("case", each([case for case in COMPRESSED_CASES if case.has("vmcore")]))
def test_damaged_headers_are_a_sentence_or_an_answer(case: Case, tmp_path: Path) -> None:
    """In a process of its own: no signal, no traceback, the exit codes of the guide; also where headers are cut."""
    whole = (case.folder / "vmcore").read_bytes()
    damaged = [whole[:cut] for cut in CUTS_IN_HEADERS]
    damaged += [whole[:at] + new + whole[at + len(new) :] for at, new in HEADER_DAMAGE.values()]
    told_at, told_bytes = struct.unpack_from("<QQ", whole, 4096 + 32)
    for old, new in VMCOREINFO_DAMAGE.items():
        text = whole[told_at : told_at + told_bytes].replace(old, new)
        for end in (len(whole), len(whole) - 100_000):
            dump = bytearray(whole[:end])
            dump[told_at : told_at + len(text)] = text
            struct.pack_into("<QQ", dump, 4096 + 32, told_at, len(text))
            damaged.append(bytes(dump))
    path = tmp_path / "vmcore"
    for content in damaged:
        path.write_bytes(content)
        done = subprocess.run([sys.executable, "-m", "oomscope", "explain", path], capture_output=True, text=True)
        assert done.returncode in (0, 3, 4), done.stderr
        assert done.stderr.count("\n") <= 1
        assert "bug in oomscope" not in done.stderr


def _part_of(whole: bytes, half: int) -> bytes:
    """One of two parts of a dump of version 6, by its own pages' descriptors (makedumpfile's diskdump_mod.h)."""
    block, sub_blocks, bitmap_blocks, max_mapnr = struct.unpack_from("<iiII", whole, 428)
    middle = max_mapnr // 2
    first, last = (0, middle) if half == 0 else (middle, max_mapnr)
    bitmaps = (1 + sub_blocks) * block
    descriptors = bitmaps + bitmap_blocks * block
    bitmap = whole[bitmaps + bitmap_blocks // 2 * block : descriptors]
    pfns = [pfn for pfn in range(max_mapnr) if bitmap[pfn >> 3] >> (pfn & 7) & 1]
    rows = [
        whole[descriptors + 24 * at : descriptors + 24 * at + 24] for at, pfn in enumerate(pfns) if first <= pfn < last
    ]
    part = bytearray(whole)
    struct.pack_into("<iQQ", part, block + 12, 1, first, last)
    struct.pack_into("<QQ", part, block + 80, first, last)
    part[descriptors : descriptors + 24 * len(pfns)] = b"".join(rows).ljust(24 * len(pfns), b"\0")
    return bytes(part)


@pytest.mark.parametrize("case", each(SPOILT))
def test_another_kernels_vmlinux_is_refused(case: Case) -> None:
    """Both build-ids are shown."""
    other = next(other for other in SPOILT if other.kernel != case.kernel)
    with pytest.raises(oomscope.BadQuestion, match=r"build-id [0-9a-f]{40}, but .* is of [0-9a-f]{40}"):
        oomscope.explain(dump_of(case), vmlinux=vmlinux_of(other))


@pytest.mark.parametrize("case", each(SPOILT))
def test_a_vmlinux_beside_the_dump_is_found_by_its_build_id(case: Case) -> None:
    """Given as one more file, debug info is used; that of another kernel is left out, and that is said."""
    other = next(other for other in SPOILT if other.kernel != case.kernel)
    verdict = oomscope.explain(dump_of(case), vmlinux_of(case), vmlinux_of(other))
    assert verdict.greatest is not None
    assert any(frame.source for frame in verdict.greatest.holding.stack.frames)
    assert verdict.greatest.pages == (explained(case).greatest or verdict.greatest).pages
