"""`oomscope top` in a terminal of its own: what it shows, its keys, and how it leaves."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pyte
import pytest

from oomscope.host.facts import Machine
from oomscope.host.top import ALLOCINFO, SHOW_STACKS, Watch
from tests.support import captures

LEAKED = f"{captures.LEAKED_PAGES:,}"
_PATIENCE_S = 20


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine before the leak: recorded readings where the kernel has them."""
    for path in (SHOW_STACKS, "/proc/meminfo"):
        (tmp_path / path[1:]).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(captures.CASE_6_12.parent / "meminfo", tmp_path / "proc" / "meminfo")
    (tmp_path / SHOW_STACKS[1:]).write_bytes(captures.text(captures.CASE_6_12.parent / "show_stacks.before.zst"))
    return tmp_path


def leak(root: Path) -> None:
    """The next reading is the one behind it."""
    after = root / "after"
    after.write_bytes(captures.text(captures.SHOW_STACKS))
    after.rename(root / SHOW_STACKS[1:])


class Terminal:
    """The command in a pseudo terminal, and what is on its screen."""

    def __init__(self, root: Path, *, columns: int = 100, lines: int = 30) -> None:
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self.written = b""
        self.ours, theirs = pty.openpty()
        self.resize(columns, lines)
        self.settings = termios.tcgetattr(theirs)
        command = [sys.executable, "-m", "oomscope", "top", "--root", str(root), "--interval", "0.3"]
        environment = os.environ | {"TERM": "xterm-256color"}
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
        )
        self._theirs = theirs

    def resize(self, columns: int, lines: int) -> None:
        """Another size, as a window manager gives it."""
        self.screen.resize(lines, columns)
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def wait_for(self, text: str) -> str:
        """The screen as soon as `text` is on it."""
        deadline = time.monotonic() + _PATIENCE_S
        os.set_blocking(self.ours, False)
        while time.monotonic() < deadline:
            try:
                piece = os.read(self.ours, 1 << 16)
            except BlockingIOError:
                piece = b""
            self.written += piece
            self._stream.feed(piece)
            shown = "\n".join(self.screen.display)
            if text in shown:
                return shown
            time.sleep(0.02)
        raise AssertionError(f"{text!r} does not appear:\n{shown}")

    def press(self, keys: str) -> None:
        """As a hand does."""
        os.write(self.ours, keys.encode())

    def left_clean(self) -> bool:
        """Whether settings, screen and cursor are as they were."""
        self.process.wait(_PATIENCE_S)
        try:
            while piece := os.read(self.ours, 1 << 16):
                self.written += piece
        except (BlockingIOError, OSError):
            pass
        left = self.written.rfind(b"\x1b[?1049l") > self.written.rfind(b"\x1b[?1049h")
        shown = self.written.rfind(b"\x1b[?25h") > self.written.rfind(b"\x1b[?25l")
        return left and shown and termios.tcgetattr(self._theirs) == self.settings

    def close(self) -> None:
        """End it, however it stands."""
        self.process.kill()
        self.process.wait()
        os.close(self.ours)
        os.close(self._theirs)


@pytest.fixture
def terminal(root: Path) -> Iterator[Terminal]:
    made = Terminal(root)
    try:
        yield made
    finally:
        made.close()


def test_a_leak_appears_on_the_screen(terminal: Terminal, root: Path) -> None:
    """Its pages, that all of them are new, at the top when sorted by change; q leaves."""
    terminal.wait_for("copy_process")
    leak(root)
    shown = terminal.wait_for("leak_mb_write [leak]")
    row = next(line for line in shown.splitlines() if "leak_mb_write" in line)
    assert row.split()[:2] == [LEAKED, f"+{LEAKED}"]
    terminal.press("s")
    shown = terminal.wait_for("sorted by change")
    rows = shown.splitlines()
    assert "leak_mb_write" in rows[3]
    terminal.press("q")
    assert terminal.left_clean()
    assert terminal.process.returncode == 0


def test_keys_fold_pause_and_begin_again(terminal: Terminal, root: Path) -> None:
    """By stack; nothing new while paused; changes counted from now on."""
    terminal.wait_for("copy_process")
    terminal.press("f")
    terminal.wait_for("post_alloc_hook < ")
    terminal.press("f")
    terminal.wait_for("by culprit")
    terminal.press("p")
    terminal.wait_for("paused")
    leak(root)
    time.sleep(1)
    assert "leak_mb_write" not in terminal.wait_for("paused")
    terminal.press("ps")  # two keys at once are two keys
    terminal.wait_for("leak_mb_write [leak]")
    terminal.wait_for("sorted by change")
    terminal.press("r")
    terminal.wait_for("+0 pages in 0 s")


def test_it_fits_into_any_size(terminal: Terminal) -> None:
    """Narrow, low, and large again: drawn anew, no line beyond the edge."""
    terminal.wait_for("copy_process")
    for columns, lines in ((40, 10), (20, 5), (160, 50)):
        terminal.resize(columns, lines)
        os.kill(terminal.process.pid, signal.SIGWINCH)
        terminal.screen.reset()
        shown = terminal.wait_for("oomscope top")
        assert len(shown.splitlines()) <= lines
    terminal.wait_for("btf_check_all_metas")
    assert terminal.process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_leave_the_terminal_as_it_was(terminal: Terminal, number: signal.Signals) -> None:
    """Interrupted, ended or hung up: cursor, screen and settings come back."""
    terminal.wait_for("copy_process")
    os.kill(terminal.process.pid, number)
    assert terminal.left_clean()


def test_a_reading_that_fails_ends_it_in_a_sentence(terminal: Terminal, root: Path) -> None:
    """The file is gone: the terminal comes back first, then the reason."""
    terminal.wait_for("copy_process")
    (root / SHOW_STACKS[1:]).unlink()
    assert terminal.left_clean()
    assert terminal.process.returncode == 2
    assert b"no such file" in terminal.written[terminal.written.rfind(b"\x1b[?1049l") :]


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "oomscope", "top", "--root", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def test_once_is_for_scripts(root: Path) -> None:
    """One answer in each form, without a terminal; the screen needs one, and that is said."""
    done = run(root, "--once", "--interval", "0.1", "--format", "json")
    snapshot = json.loads(done.stdout)
    assert (snapshot["source"], snapshot["unit"], snapshot["change"]) == (SHOW_STACKS, "pages", 0)
    assert snapshot["total"] == sum(row["pages"] for row in snapshot["rows"])
    assert "copy_process" in run(root, "--once", "--interval", "0.1").stdout
    refused = run(root)
    assert (refused.returncode, refused.stderr) == (
        2,
        "oomscope: the screen needs a terminal; --once, or --format json\n",
    )


def test_call_sites_where_there_are_no_stacks(root: Path) -> None:
    """The next cheapest account: bytes by call site."""
    (root / SHOW_STACKS[1:]).unlink()
    rows = "allocinfo - version: 1.0\n{} 12 a.c:1 [m] func:leaky\n8192 2 b.c:2 func:other\n"
    (root / ALLOCINFO[1:]).write_text(rows.format(4096))
    seconds = iter(range(100))
    watch = Watch(Machine(root), clock=lambda: float(next(seconds)))
    watch.tick()
    (root / ALLOCINFO[1:]).write_text(rows.format(4096 * 11))
    watch.tick()
    snapshot = watch.snapshot(group_by="culprit", sort="rate")
    assert (snapshot.source, snapshot.unit) == (ALLOCINFO, "bytes")
    assert [(row.name, row.amount, row.change, row.per_s) for row in snapshot.rows] == [
        ("leaky [m]", 45056, 40960, 20480.0),
        ("other", 8192, 0, 0.0),
    ]
