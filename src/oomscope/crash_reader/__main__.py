"""Read a dead kernel's memory, print who held most of it, and write that down beside the dump."""

from __future__ import annotations

import json
import os
import signal
import sys
import time

from oomscope.crash_reader import plan
from oomscope.crash_reader.core import Core
from oomscope.crash_reader.errors import OtherKernel, Unread
from oomscope.crash_reader.findings import Findings
from oomscope.crash_reader.lines import lines

_TOP, _TOP_IN_FILE = 3, 16
_FAILED = 1
_MARGIN_S = 10.0


def main(arguments: list[str]) -> int:
    """PLAN CORE SECONDS [FOLDER]: exit code 0 where something was found, 1, with a line, where nothing was."""
    if len(arguments) not in (3, 4):
        print("oomscope: PLAN CORE SECONDS [FOLDER] are asked for", file=sys.stderr)
        return _FAILED
    plan_path, core_path, seconds, *folder = arguments
    began_s = time.monotonic()
    signal.alarm(int(float(seconds) + _MARGIN_S))  # whatever hangs: then the dump is saved without an answer
    try:
        findings = Findings(Core(core_path), plan.load(plan_path))
    except (Unread, OtherKernel, OSError) as why:
        print(f"oomscope: nothing can be told of the dead kernel: {why}", file=sys.stderr)
        return _FAILED
    findings.take_log()
    try:
        findings.take_pages(began_s + float(seconds))
    except (Unread, LookupError, ValueError, OverflowError, MemoryError) as why:
        findings.miss(f"who allocated the pages: {why or type(why).__name__}")
    told = findings.told
    told["took_s"] = round(time.monotonic() - began_s, 3)
    told["peak_kib"] = _peak_kib()
    _say("\n".join(lines(told, _TOP)))
    if folder:
        try:
            _write(os.path.join(folder[0], "vmcore-oom.txt"), "\n".join(lines(told, _TOP_IN_FILE)) + "\n")
            _write(os.path.join(folder[0], "vmcore-oom.json"), json.dumps(told, separators=(",", ":")) + "\n")
        except OSError as error:
            print(f"oomscope: {folder[0]}: {error.strerror}: nothing is written", file=sys.stderr)
            return _FAILED
    return 0


def _say(text: str) -> None:
    try:
        print(text, flush=True)
    except OSError as error:
        print(f"oomscope: cannot print: {error.strerror}", file=sys.stderr)


def _write(path: str, text: str) -> None:
    """As a whole or not at all: the machine may be reset at any moment."""
    part = f"{path}.part"
    with open(part, "w", encoding="utf-8") as file:
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
