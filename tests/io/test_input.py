from __future__ import annotations

import bz2
import gzip
import lzma
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

import oomscope
from oomscope.io.input import Input
from oomscope.sources import recognise
from tests.support import brute_force, captures
from tests.support.transcriptions import ORDINARY, linux_6_12

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gz": gzip.compress,
    "xz": lzma.compress,
    "bz2": bz2.compress,
    "zst": zstandard.ZstdCompressor().compress,
}
# A part of a capture that is enough to tell whole from cut; how much the leak holds in it is counted slowly.
_WHOLE = captures.text(captures.AFTER_6_12)
DUMP = _WHOLE[: _WHOLE.index(b"\n\n", 3 << 20) + 2]
LEAKED_PAGES = sum(
    record.pages for record in brute_force.records(DUMP) if any(f.startswith("leak_mb_write") for f in record.frames)
)


def leaked_pages(verdict: oomscope.Verdict) -> int:
    assert verdict.greatest is not None
    assert str(verdict.greatest.holding.culprit) == "leak_mb_write [leak]"
    return verdict.greatest.pages


@pytest.mark.parametrize("compress", COMPRESSORS.values(), ids=COMPRESSORS.keys())
def test_every_compression_is_recognised_by_content(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    """Plain, gzip, xz, bzip2 and zstd files are read whatever they are called."""
    path = tmp_path / "evidence.bin"
    path.write_bytes(compress(DUMP))
    assert leaked_pages(oomscope.explain(path)) == LEAKED_PAGES


@pytest.mark.parametrize("kind", ["gz", "xz", "bz2", "zst"])
def test_several_compressed_streams_one_after_another(tmp_path: Path, kind: str) -> None:
    """Concatenated compressed streams are one text, as their tools treat them."""
    path = tmp_path / "evidence"
    half = DUMP.index(b"\n\n", len(DUMP) // 2) + 2
    path.write_bytes(COMPRESSORS[kind](DUMP[:half]) + COMPRESSORS[kind](DUMP[half:]))
    assert leaked_pages(oomscope.explain(path)) == LEAKED_PAGES


@pytest.mark.parametrize("kind", ["gz", "xz", "bz2", "zst"])
def test_a_truncated_stream_gives_a_partial_answer(tmp_path: Path, kind: str) -> None:
    """What stands before the cut of a compressed stream is explained, and the cut is said."""
    path = tmp_path / "evidence"
    compressed = COMPRESSORS[kind](DUMP * 3)
    path.write_bytes(compressed[: len(compressed) * 9 // 10])
    verdict = oomscope.explain(path)
    assert LEAKED_PAGES // 2 <= leaked_pages(verdict) < 3 * LEAKED_PAGES
    assert verdict.partial
    assert any("cut short" in absent.reason for absent in verdict.absent)


INCREMENTAL: dict[str, Callable[[], Any]] = {
    "gz": lambda: zlib.decompressobj(31),
    "xz": lzma.LZMADecompressor,
    "bz2": bz2.BZ2Decompressor,
    "zst": lambda: zstandard.ZstdDecompressor().decompressobj(),
}


@pytest.mark.parametrize("kind", INCREMENTAL)
def test_a_truncated_stream_is_read_to_its_last_byte(tmp_path: Path, kind: str) -> None:
    """All whole records are counted that the compression's own library can get out of a cut file."""
    text = captures.text(captures.BEFORE_6_12)
    cut = COMPRESSORS[kind](text)[:30_000]
    recovered = INCREMENTAL[kind]().decompress(cut)
    whole = recovered.count(b"\n\n")
    assert whole > 100
    path = tmp_path / "evidence"
    path.write_bytes(cut)
    records = oomscope.explain(path).inputs[0].records
    assert whole <= records <= whole + 1


@pytest.mark.parametrize("kind", INCREMENTAL)
@pytest.mark.parametrize("behind", [b"\0" * 5000, b"something else"])
def test_what_stands_behind_a_stream_costs_nothing(tmp_path: Path, kind: str, behind: bytes) -> None:
    """Padding and other bytes after a complete stream leave its records whole."""
    path = tmp_path / "evidence"
    path.write_bytes(COMPRESSORS[kind](DUMP) + behind)
    assert leaked_pages(oomscope.explain(path)) == LEAKED_PAGES


@pytest.mark.parametrize("kind", ["gz", "xz", "bz2", "zst"])
def test_a_corrupt_stream_gives_a_partial_answer_or_one_sentence(tmp_path: Path, kind: str) -> None:
    """Damage inside a compressed stream ends the reading there, and is said."""
    path = tmp_path / "evidence"
    compressed = bytearray(COMPRESSORS[kind](DUMP * 3))
    middle = len(compressed) * 2 // 3
    compressed[middle : middle + 64] = os.urandom(64)
    path.write_bytes(compressed)
    try:
        verdict = oomscope.explain(path)
    except oomscope.OomscopeError as error:
        assert "compressed stream" in str(error) or "record" in str(error)
    else:
        # A stream without a checksum may decode to other text: then records are spoilt instead.
        assert verdict.partial or kind == "zst"


@pytest.mark.parametrize("kind", ["gz", "xz", "bz2", "zst"])
def test_a_stream_cut_to_its_header_cannot_be_read(tmp_path: Path, kind: str) -> None:
    """A compressed file of which only the first bytes are left is corrupt, exit code 3."""
    path = tmp_path / "evidence"
    path.write_bytes(COMPRESSORS[kind](DUMP)[:12])
    with pytest.raises(oomscope.Unreadable, match=f"{path}: the compressed stream is"):
        oomscope.explain(path)


def test_a_directory_is_searched_and_what_is_not_known_is_said(tmp_path: Path) -> None:
    """Known files below a directory are used, the others listed with the reason."""
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "x").write_bytes(gzip.compress(DUMP))
    (tmp_path / "meminfo").write_bytes((captures.CASE_6_12 / "meminfo").read_bytes())
    (tmp_path / "notes.txt").write_text("some words\n")
    (tmp_path / "empty").touch()
    verdict = oomscope.explain(tmp_path)
    assert leaked_pages(verdict) == LEAKED_PAGES
    assert verdict.ram_pages == 491_692 // 4
    said = {absent.what: absent.reason for absent in verdict.absent}
    assert "text, but of no kind" in said[str(tmp_path / "notes.txt")]
    assert said[str(tmp_path / "empty")] == "empty"


def test_a_link_that_leads_round_is_not_followed(tmp_path: Path) -> None:
    """A directory that links to itself is read once."""
    (tmp_path / "dump").write_bytes(linux_6_12(ORDINARY))
    (tmp_path / "loop").symlink_to(tmp_path)
    assert oomscope.explain(tmp_path).counted_pages == 1


def test_standard_input_is_streamed() -> None:
    """A dump that comes through a pipe, compressed or not, is read."""
    for name, compress in COMPRESSORS.items():
        done = subprocess.run(
            [sys.executable, "-m", "oomscope", "explain", "-", "--format", "kernel"],
            input=compress(DUMP),
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, (name, done.stderr)
        first = b"OOM: greatest memory consumer: %d pages are allocated from:\n" % LEAKED_PAGES
        assert done.stdout.startswith(first), name


def test_zstd_bomb_is_read_in_bounded_pieces(tmp_path: Path) -> None:
    """A few kilobytes that unpack to a gigabyte of nothing are refused without holding it."""
    path = tmp_path / "bomb"
    compressor = zstandard.ZstdCompressor(level=19).compressobj()
    with path.open("wb") as out:
        for _ in range(1024):
            out.write(compressor.compress(b"\0" * (1 << 20)))
        out.write(compressor.flush())
    stream = Input(str(path), path).open()
    assert len(stream.head) == 1 << 20
    assert recognise(stream.head) is None
    assert sum(map(len, stream.chunks())) <= 1 << 26
    assert stream.defect == "it expands more than 2,000 times: a bomb"
    stream.close()


def test_a_log_that_becomes_a_bomb_is_explained_up_to_there(tmp_path: Path) -> None:
    """What came before it is evidence; that it ends there is said."""
    compressor = zstandard.ZstdCompressor(level=19).compressobj()
    with (tmp_path / "kern.log.zst").open("wb") as out:
        out.write(compressor.compress(captures.text(captures.CONSOLE_6_12)))
        for _ in range(300):
            out.write(compressor.compress(b"kernel: nothing happened\n" * (1 << 15)))
        out.write(compressor.flush())
    verdict = oomscope.explain(tmp_path / "kern.log.zst")
    assert verdict.oom is not None
    assert verdict.partial
    assert any("a bomb" in absent.reason for absent in verdict.absent)


def test_a_device_without_a_size_is_read_to_its_end(tmp_path: Path) -> None:
    """A named pipe, like a debugfs file, tells no size and is read all the same."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = subprocess.Popen([sys.executable, "-c", f"open({str(fifo)!r},'wb').write({linux_6_12(ORDINARY)!r} * 7)"])
    verdict = oomscope.explain(fifo)
    assert writer.wait(10) == 0
    assert verdict.counted_pages == 7
