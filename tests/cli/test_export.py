"""`oomscope export`: files, standard output, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from oomscope.cli.export import FORMATS
from oomscope.export import EXPORTS
from tests.support import captures


def run(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "oomscope", "export", *arguments], capture_output=True, check=False)


def test_the_command_offers_every_format() -> None:
    """What is repeated for --help is what there is."""
    assert set(FORMATS) == set(EXPORTS)


def test_a_file_and_standard_output_are_the_same(tmp_path: Path) -> None:
    """Byte by byte, for a text and a binary format."""
    for form in ("folded", "pprof"):
        path = tmp_path / form
        assert run(captures.AFTER_6_12, "--as", form, "-o", path).returncode == 0
        assert path.read_bytes() == run(captures.AFTER_6_12, "--as", form).stdout != b""


def test_what_has_no_stacks_is_refused_in_a_sentence(tmp_path: Path) -> None:
    """Exit code 1 and what to do; a place that cannot be written is exit code 5."""
    (tmp_path / "meminfo").write_text("MemTotal: 4000 kB\nMemFree: 1004 kB\n")
    done = run(tmp_path, "--as", "folded")
    assert done.returncode == 1
    assert done.stderr.decode().startswith(f"oomscope: {tmp_path}: no stacks to export; ")
    assert run(captures.AFTER_6_12, "--as", "csv", "-o", tmp_path / "no" / "file").returncode == 5


def test_a_closed_pipe_is_no_error() -> None:
    """`| head` ends it quietly."""
    with subprocess.Popen(
        [sys.executable, "-m", "oomscope", "export", captures.AFTER_6_12, "--as", "folded"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


def test_closed_standard_streams_are_told(tmp_path: Path) -> None:
    """One sentence, no traceback: for an export without standard output, for top without a terminal."""
    for words, code in ((f"export {captures.AFTER_6_12} --as folded >&-", 5), ("top --root / <&-", 2)):
        command = f"{sys.executable} -m oomscope {words}"
        done = subprocess.run(["sh", "-c", command], capture_output=True, cwd=tmp_path, check=False)
        assert done.returncode == code
        assert done.stderr.startswith(b"oomscope: ")
        assert done.stderr.count(b"\n") == 1
