"""What is no kernel's memory, or may not be read: one clear sentence and the documented exit code."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

import oomscope
from oomscope.sources.vmcore import require_drgn
from oomscope.sources.vmcore.reader import Reader
from oomscope.verdict import Question, judge
from tests.support.mock_kernel import MockKernel, stack_of

COMMAND = [sys.executable, "-m", "oomscope", "explain"]


def elf_core(*notes: tuple[bytes, int, bytes]) -> bytes:
    """An ELF core of x86_64 that holds notes and no memory."""
    packed = b""
    for name, kind, data in notes:
        packed += struct.pack("<III", len(name), len(data), kind)
        packed += name.ljust(-(-len(name) // 4) * 4, b"\0") + data.ljust(-(-len(data) // 4) * 4, b"\0")
    rest = struct.pack("<HHIQQQIHHHHHH", 4, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + rest
    return header + struct.pack("<IIQQQQQQ", 4, 0, 120, 0, 0, len(packed), len(packed), 4) + packed


PROCESS = elf_core((b"CORE\0", 1, b"\0" * 336), (b"CORE\0", 3, b"\0" * 136))


@pytest.mark.parametrize(
    ("content", "exit_code", "says"),
    [
        (PROCESS, 1, "the core dump of a process, not of a kernel"),
        (elf_core((b"QEMU\0", 0, b"\0" * 440)), 3, "not a core dump that can be read"),
        (elf_core((b"VMCOREINFO\0", 0, b"OSRELEASE=1\n")), 3, "core"),
        (b"KDUMP   " + bytes(4096), 3, "not a core dump that can be read"),
        (b"makedumpfile\0" + bytes(8192), 3, "not a core dump that can be read"),
        (b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + b"\x04\x00", 3, "not a core dump that can be read"),
    ],
    ids=["process", "qemu-without-vmcoreinfo", "vmcoreinfo-alone", "kdump", "flattened", "header-cut"],
)
def test_what_is_no_kernels_memory(content: bytes, exit_code: int, says: str, tmp_path: Path) -> None:
    """One sentence on stderr, nothing on stdout, the exit code of the guide."""
    path = tmp_path / "vmcore"
    path.write_bytes(content)
    done = subprocess.run([*COMMAND, path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (exit_code, "")
    assert done.stderr.count("\n") == 1
    assert says in done.stderr


def test_a_compressed_dump_is_unpacked_first(tmp_path: Path) -> None:
    """What stands inside a .zst is judged, under the name that was given."""
    path = tmp_path / "vmcore.zst"
    path.write_bytes(zstandard.ZstdCompressor().compress(PROCESS))
    done = subprocess.run([*COMMAND, path], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"{path}: the core dump of a process" in done.stderr
    assert not list(tmp_path.glob("oomscope-*"))


def test_live_needs_root(tmp_path: Path) -> None:
    """Without root nothing of a machine may be read: exit code 4, and what to do."""
    code = "import os; os.geteuid = lambda: 65534; from oomscope.cli import main; main()"
    command = [sys.executable, "-c", code, "explain", "--live"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 4
    assert "Traceback" not in done.stderr
    assert "root" in done.stderr


def test_without_paths_and_without_live_is_a_usage_error() -> None:
    """There is nothing to explain."""
    done = subprocess.run(COMMAND, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--live" in done.stderr


def test_without_drgn_text_still_works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The library is needed for kernel memory alone; its absence is said with the command that mends it."""
    monkeypatch.setitem(sys.modules, "drgn", None)
    with pytest.raises(oomscope.NoAccess) as refused:
        require_drgn()
    assert "pip install" in refused.value.advice
    path = tmp_path / "vmcore"
    path.write_bytes(PROCESS)
    with pytest.raises(oomscope.NoAccess):
        oomscope.explain(path)


@pytest.mark.parametrize(
    ("page_owner", "reason"),
    [(None, "built without page_owner"), (False, "page_owner is off: boot with page_owner=on")],
)
def test_page_owner_built_out_or_off(page_owner: bool | None, reason: str) -> None:
    """That owners are not known is said, and why; the census stands."""
    kernel = MockKernel(page_owner=page_owner, stacks=[stack_of(1)])
    kernel.sections[0] = kernel.entries(kernel.section_pages)
    reader = Reader(kernel.dump(), "mock")
    frames = list(reader.batches())
    assert not reader.has_page_owner
    assert reason in reader.notes.absent[0].reason
    assert len(frames) == 1


def test_an_image_alone_is_no_evidence(tmp_path: Path) -> None:
    """A vmlinux without a dump is told apart from unknown data."""
    path = tmp_path / "vmlinux"
    path.write_bytes(b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + b"\x02\x00" + bytes(100))
    with pytest.raises(oomscope.OomscopeError, match="ELF image"):
        oomscope.explain(path)


def test_a_question_about_records_is_asked_of_the_dump() -> None:
    """Filters and groups work on kernel memory as on text."""
    kernel = MockKernel(stacks=[stack_of(1), stack_of(2)])
    entries = kernel.entries(kernel.section_pages)
    kernel.own(entries, slice(0, 4), handle=kernel.handle(0), order=2, ts_nsec=5, pid=7, comm=b"seven")
    kernel.own(entries, slice(8, 11), handle=kernel.handle(1), order=0, ts_nsec=6, pid=8, comm=b"eight")
    kernel.sections[0] = entries
    from oomscope.attribution import timeline
    from oomscope.attribution.selection import Selection
    from oomscope.pipeline.memory import _read

    for selection, by, expected in (
        (Selection(), "comm", [("seven", 4), ("eight", 3)]),
        (Selection(pids=frozenset({8})), "comm", [("eight", 3)]),
        (Selection(orders=frozenset({2})), "order", [("2", 4)]),
    ):
        readings = _read(kernel.dump(), "mock", selection, ranking_only=False, progress=None)
        verdict = judge(timeline.build(tuple(readings)), Question(by=by), selection)
        assert [(group.name, group.pages) for group in verdict.groups] == expected
