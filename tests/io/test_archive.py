"""Archives: the verdict of what is in them, whatever lies around it; bombs and tricks cost themselves only."""

from __future__ import annotations

import bz2
import io
import os
import tarfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest

import oomscope
from fuzz.packed import bugreport_of, tar_of, zip_of
from oomscope import bounds
from oomscope.report import json_report
from tests.support import captures, corpus

CASE = {
    "case/page_owner.zst": captures.AFTER_6_12.read_bytes(),
    "case/meminfo": (captures.CASE_6_12 / "meminfo").read_bytes(),
    "case/version": (captures.CASE_6_12 / "version").read_bytes(),
    "case/etc/motd": b"welcome\n",
}


tar = partial(tar_of, mode="w:gz")


def old_tar(files: Mapping[str, bytes]) -> bytes:
    """A tar as it was before ustar: no magic, only the header's sum."""
    made = bytearray()
    for name, text in files.items():
        header = bytearray(tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT))
        header[124:136] = b"%011o\0" % len(text)
        header[257:512] = bytes(255)
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        made += header + text + bytes(-len(text) % 512)
    return bytes(made) + bytes(1024)


PACKED: dict[str, Callable[[Mapping[str, bytes]], bytes]] = {
    "tar": lambda files: tar_of(files, "w"),
    "tar.gz": tar,
    "tar.xz": lambda files: tar_of(files, "w:xz"),
    "tar.bz2": lambda files: bz2.compress(tar_of(files, "w")),
    "old tar": lambda files: old_tar(files),
    "zip": zip_of,
    "tar in a zip": lambda files: zip_of({"sosreport.tar.gz": tar(files)}),
    "zip in a tar": lambda files: tar({"bugreport.zip": zip_of(files), "README": b"hello\n"}),
}


@pytest.mark.parametrize("form", PACKED)
def test_an_archive_is_the_case_that_it_holds(form: str, tmp_path: Path) -> None:
    """Packed in any way, a case gets the same numbers as in a folder, and files of no known kind are counted."""
    path = tmp_path / "case"
    path.write_bytes(PACKED[form](CASE))
    packed, loose = oomscope.explain(path), oomscope.explain(captures.CASE_6_12)
    assert {c.holding.stack: c.pages for c in packed.consumers} == {c.holding.stack: c.pages for c in loose.consumers}
    assert packed.balance == loose.balance
    assert any("files in" in absent.what for absent in packed.absent)


def test_a_sosreport_without_counts_is_explained_by_its_log(tmp_path: Path) -> None:
    """A log and slabinfo among other files of a sosreport: one story, with the slab rows by cache."""
    log = captures.text(corpus.path("086-nfsd-page-leak-88pct.log"))
    slabinfo = b"slabinfo - version: 2.1\nkmalloc-2k 1 2 2048 16 8 : tunables 0 0 0 : slabdata 7 7 0 \n"
    files = {"sos/var/log/messages": log, "sos/proc/slabinfo": slabinfo, "sos/etc/passwd": b"root:x:0:0\n"}
    path = tmp_path / "sosreport-host.tar.xz"
    path.write_bytes(tar_of(files, "w:xz"))
    verdict = oomscope.explain(path)
    assert verdict.oom is not None
    assert verdict.oom.oom_class == "hidden-kernel"
    assert verdict.balance is not None
    assert next(row.parts for row in verdict.balance.rows if row.kind == "slab, unreclaimable") == (("kmalloc-2k", 56),)


def test_a_bugreport_is_read_section_by_section(tmp_path: Path) -> None:
    """Android's one text of many files, packed in a zip: kernel log and slabinfo are found in it."""
    log = captures.text(corpus.path("086-nfsd-page-leak-88pct.log"))
    slabinfo = b"slabinfo - version: 2.1\nkmalloc-2k 1 2 2048 16 8 : tunables 0 0 0 : slabdata 7 7 0 \n"
    path = tmp_path / "bugreport.zip"
    path.write_bytes(zip_of({"bugreport.txt": bugreport_of({"dmesg": log, "/proc/slabinfo": slabinfo})}))
    verdict = oomscope.explain(path)
    assert verdict.oom is not None
    assert verdict.oom.oom_class == "hidden-kernel"
    assert verdict.balance is not None
    assert any(row.parts == (("kmalloc-2k", 56),) for row in verdict.balance.rows)


def _nested(depth: int) -> bytes:
    inner = tar(CASE)
    for _ in range(depth):
        inner = tar({"inner.tar.gz": inner})
    return inner


MEMINFO = b"MemTotal: 9 kB\nMemFree: 8 kB\n"
_BOMB_BYTES = bounds.ARCHIVE_FREE_BYTES + (32 << 20)
BOMBS: dict[str, Callable[[], bytes]] = {
    "zeros in a zip": lambda: zip_of({"meminfo": MEMINFO + bytes(_BOMB_BYTES)}),
    "zeros in a tar": lambda: tar({"page_owner": b"Page allocated via order 0\n" + bytes(_BOMB_BYTES)}),
    "too deep": lambda: _nested(bounds.ARCHIVE_DEPTH + 2),
    "too many": lambda: tar({str(n): b"" for n in range(bounds.ARCHIVE_MEMBERS + 5)}),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_and_the_rest_is_read(bomb: str, tmp_path: Path) -> None:
    """An archive beyond its bounds ends where it goes beyond them, in a sentence; the case beside it is explained."""
    (tmp_path / "bomb").write_bytes(BOMBS[bomb]())
    (tmp_path / "case.tar.gz").write_bytes(tar(CASE))
    verdict = oomscope.explain(tmp_path)
    assert verdict.greatest is not None
    assert verdict.greatest.pages == captures.LEAKED_PAGES
    reasons = [absent.reason for absent in verdict.absent if "bomb" in absent.what]
    assert any(
        "it expands" in reason or "it has more" in reason or "deep in another" in reason for reason in reasons
    ), reasons


def test_what_came_before_the_bound_counts(tmp_path: Path) -> None:
    """A bomb behind a case in one archive: the case is explained."""
    path = tmp_path / "both.zip"
    path.write_bytes(zip_of({**CASE, "z/meminfo": MEMINFO + bytes(_BOMB_BYTES)}))
    verdict = oomscope.explain(path)
    assert verdict.greatest is not None
    assert verdict.greatest.pages == captures.LEAKED_PAGES
    assert any("a bomb" in absent.reason for absent in verdict.absent)


def test_names_lead_nowhere(tmp_path: Path) -> None:
    """Absolute names, `..`, links and devices in an archive write nothing; the origin is shown as text."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name in ("../../escaped", "/tmp/escaped", "a/../../escaped\x1b[2J"):
            entry = tarfile.TarInfo(name)
            entry.size = len(CASE["case/page_owner.zst"])
            made.addfile(entry, io.BytesIO(CASE["case/page_owner.zst"]))
        for kind, target in (
            (tarfile.SYMTYPE, "/etc/shadow"),
            (tarfile.LNKTYPE, "../../escaped"),
            (tarfile.CHRTYPE, ""),
        ):
            entry = tarfile.TarInfo(f"link-{kind!r}")
            entry.type, entry.linkname = kind, target
            made.addfile(entry)
    inner = tmp_path / "inner"
    inner.mkdir()
    path = inner / "tricks.tar"
    path.write_bytes(out.getvalue())
    before = sorted(tmp_path.rglob("*"))
    verdict = oomscope.explain(path)
    assert sorted(tmp_path.rglob("*")) == before
    assert not Path("/tmp/escaped").exists()
    assert "\x1b" not in json_report.render(verdict)


@pytest.mark.parametrize("form", ["tar", "tar.gz", "zip"])
@pytest.mark.parametrize("share", [0.999, 0.9, 0.3])
def test_a_cut_archive_gives_what_came_before(form: str, share: float, tmp_path: Path) -> None:
    """Cut anywhere, an archive is explained as far as it goes, or refused in a sentence; that it is cut is said."""
    whole = PACKED[form](CASE)
    path = tmp_path / "cut"
    path.write_bytes(whole[: int(len(whole) * share)])
    try:
        verdict = oomscope.explain(path)
    except oomscope.OomscopeError as error:
        assert error.exit_code in (1, 3)
        assert "\n" not in str(error)
    else:
        told = verdict.partial or any("breaks off" in a.reason or "cut short" in a.reason for a in verdict.absent)
        nothing_lost = verdict.balance is not None and len(verdict.consumers) == len(
            oomscope.explain(captures.CASE_6_12).consumers
        )
        assert told or nothing_lost  # zeros at the end of a tar hold nothing


def test_bytes_of_chance_in_an_archive_end_in_a_sentence(tmp_path: Path) -> None:
    """A tar header followed by noise is refused, or explained in part, and never a traceback."""
    whole = bytearray(tar_of(CASE, "w"))
    for seed in range(20):
        spoilt = bytearray(whole)
        noise = os.urandom(600)
        at = seed * len(spoilt) // 20
        spoilt[at : at + 600] = noise
        path = tmp_path / f"{seed}.tar"
        path.write_bytes(spoilt)
        try:
            oomscope.explain(path)
        except oomscope.OomscopeError as error:
            assert "\n" not in str(error)
