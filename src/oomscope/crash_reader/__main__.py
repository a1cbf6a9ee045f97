"""Read a dead kernel's memory, write down who held most of it beside the dump, and print that."""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
import time
from contextlib import suppress

from oomscope.crash_reader import plan
from oomscope.crash_reader.core import Core
from oomscope.crash_reader.errors import OtherKernel, TimeOver, Unread
from oomscope.crash_reader.findings import Findings
from oomscope.crash_reader.lines import lines

_TOP, _TOP_IN_FILE = 3, 16
_FAILED = 1
_MARGIN_S = 5.0
_DAMAGE = (Unread, LookupError, ValueError, OverflowError, MemoryError, OSError, struct.error)


def main(arguments: list[str]) -> int:
    """PLAN CORE SECONDS [FOLDER]: exit code 0 where something was found, 1, with a line, where nothing was.

    The log is written before the pages are counted, and files before anything is printed: whatever hangs later, and
    whoever ends this program, leaves what was found by then.
    """
    if len(arguments) not in (3, 4):
        print("oomscope: PLAN CORE SECONDS [FOLDER] are asked for", file=sys.stderr)
        return _FAILED
    plan_path, core_path, seconds, *folder = arguments
    try:
        began_s, most_s = time.monotonic(), float(seconds)
        _end_after(most_s)
    except (ValueError, OverflowError):
        print(f"oomscope: {seconds} is no number of seconds", file=sys.stderr)
        return _FAILED
    try:
        findings = Findings(Core(core_path), plan.load(plan_path))
    except (OtherKernel, TimeOver, *_DAMAGE) as why:
        print(f"oomscope: nothing can be told of the dead kernel: {why or type(why).__name__}", file=sys.stderr)
        return _FAILED
    told = findings.told
    written = True
    for take, what in ((findings.take_log, "the kernel log"), (lambda: findings.take_pages(began_s, most_s), "pages")):
        try:
            take()
        except (TimeOver, *_DAMAGE) as why:
            findings.miss(f"{what}: {why or type(why).__name__}")
        told["took_s"] = round(time.monotonic() - began_s, 3)
        told["peak_kib"] = _peak_kib()
        if folder:
            written = _written(folder[0], told)
    _say("\n".join(lines(told, _TOP)))
    return 0 if written else _FAILED


def _end_after(seconds: float) -> None:
    """Raise TimeOver a little later than all should be done; where even that does not help, end the program."""

    def over(*_: object) -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(int(_MARGIN_S))
        raise TimeOver("time was over")

    signal.signal(signal.SIGALRM, over)
    signal.alarm(int(seconds + _MARGIN_S))


def _say(text: str) -> None:
    try:
        print(text, flush=True)
    except OSError as error:
        print(f"oomscope: cannot print: {error.strerror}", file=sys.stderr)


def _written(folder: str, told: dict[str, object]) -> bool:
    try:
        _write(os.path.join(folder, "vmcore-oom.json"), json.dumps(told, separators=(",", ":")) + "\n")
        _write(os.path.join(folder, "vmcore-oom.txt"), "\n".join(lines(told, _TOP_IN_FILE)) + "\n")
    except OSError as error:
        print(f"oomscope: {folder}: {error.strerror}: nothing is written", file=sys.stderr)
        return False
    return True


def _write(path: str, text: str) -> None:
    """As a whole or not at all, for root alone: it holds what dmesg_restrict and kptr_restrict keep from others.

    Nothing that lies there already is followed.
    """
    part = f"{path}.part"
    with suppress(FileNotFoundError):
        os.unlink(part)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def _peak_kib() -> int | None:
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            return next((int(line.split()[1]) for line in file if line.startswith("VmHWM:")), None)
    except OSError:
        return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
