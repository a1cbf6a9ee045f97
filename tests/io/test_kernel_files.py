"""Files that must be read to their end: what reads them reads all of it, whatever it makes of the content."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import oomscope
from oomscope.host import collect
from oomscope.host.facts import Machine
from oomscope.host.top import SHOW_STACKS, cheapest
from oomscope.io.kernel_files import must_be_read_whole, read_whole
from tests.support import captures


@pytest.fixture
def show_stacks(tmp_path: Path) -> Path:
    """A file where the kernel has it."""
    path = tmp_path / SHOW_STACKS[1:]
    path.parent.mkdir(parents=True)
    path.write_bytes(captures.text(captures.SHOW_STACKS))
    return path


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every opening of a file by its path, and nothing but the whole reading may be among them."""
    paths: list[Path] = []
    really = Path.open

    def noted(self: Path, *arguments: Any, **named: Any) -> Any:
        paths.append(self)
        return really(self, *arguments, **named)

    monkeypatch.setattr(Path, "open", noted)
    return paths


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every whole reading."""
    paths: list[Path] = []

    def noted(path: Path, *bound: int) -> bytes:
        paths.append(path)
        return read_whole(path, *bound)

    for module in ("oomscope.io.input", "oomscope.host.collect"):
        monkeypatch.setattr(f"{module}.read_whole", noted)
    return paths


def test_which_files_these_are() -> None:
    """Those that list stacks; the threshold beside them is a number."""
    folder = Path(SHOW_STACKS).parent
    assert all(must_be_read_whole(folder / name) for name in ("show_stacks", "show_handles", "show_stacks_handles"))
    assert not must_be_read_whole(folder / "count_threshold")
    assert not must_be_read_whole(Path("/somewhere/show_stacks"))


def test_explain_reads_it_whole(show_stacks: Path, opened: list[Path], whole: list[Path]) -> None:
    """Once, and to see whether it is something else, too; even where it turns out to be of no use."""
    assert oomscope.explain(show_stacks).consumers
    assert opened.count(show_stacks) == 1
    show_stacks.write_bytes(b"junk\n" * 1_000_000)
    opened.clear()
    with pytest.raises(oomscope.OomscopeError):
        oomscope.explain(show_stacks)
    assert whole == [show_stacks, show_stacks]
    assert opened.count(show_stacks) == 1


def test_collect_reads_it_whole_beyond_its_bounds(
    show_stacks: Path, tmp_path: Path, opened: list[Path], whole: list[Path]
) -> None:
    """A bound that ends the archive does not end the reading."""
    root = show_stacks.parents[4]
    for name in ("version", "meminfo"):
        (root / "proc").mkdir(exist_ok=True)
        (root / "proc" / name).write_text("x\n")
    collect.collect(tmp_path / "case.tar.zst", version="0", root=root, most_bytes=1000)
    assert whole == [show_stacks]
    assert opened.count(show_stacks) == 1


def test_top_only_opens_it_to_choose(show_stacks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To see that it is there, not a byte of it is read."""

    class Unread(io.RawIOBase):
        def read(self, _: int = -1) -> bytes:
            raise AssertionError("it was read")

    really = Path.open

    def guarded(self: Path, *arguments: Any, **named: Any) -> Any:
        return Unread() if self == show_stacks else really(self, *arguments, **named)

    monkeypatch.setattr(Path, "open", guarded)
    assert cheapest(Machine(show_stacks.parents[4])) == SHOW_STACKS


def test_an_interrupt_waits_until_it_is_closed(tmp_path: Path) -> None:
    """A slow file, interrupted while it is read: all of it is read first, then the interrupt comes."""
    fifo = tmp_path / "page_owner_stacks" / "show_stacks"
    fifo.parent.mkdir()
    os.mkfifo(fifo)
    code = (
        "import sys; from pathlib import Path; from oomscope.io.kernel_files import read_whole\n"
        "try:\n  got = read_whole(Path(sys.argv[1])); sys.stdout.write(f'{len(got)}')\n"
        "except KeyboardInterrupt:\n  sys.stdout.write('interrupted')"
    )
    with subprocess.Popen([sys.executable, "-c", code, fifo], stdout=subprocess.PIPE, text=True) as process:
        with fifo.open("wb", buffering=0) as end:
            end.write(b"a" * 10)
            time.sleep(0.2)
            process.send_signal(signal.SIGINT)
            time.sleep(0.2)
            assert process.poll() is None
            end.write(b"b" * 10)  # nobody would be there to read it, had the interrupt come
        assert process.communicate()[0] == "interrupted"
