"""One reading of memory by every account that this machine offers: taken in a process of its own, which then ends."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from oomscope.attribution import trend
from oomscope.attribution.snapshot import CULPRIT, amounts_of_accounts, amounts_of_sites, amounts_of_stacks
from oomscope.errors import NothingToExplain, OomscopeError
from oomscope.host.bpf import arm
from oomscope.host.facts import Machine
from oomscope.host.top import SHOW_STACKS
from oomscope.model.account import CALL_SITE, SLAB_CACHE, VMALLOC_CALLER
from oomscope.model.usage_sample import UsageSample
from oomscope.pipeline.api import explain, read
from oomscope.pipeline.memory import read_tracked
from oomscope.watch.bookmarks import boot_id
from oomscope.watch.history import History
from oomscope.watch.protocol import TakenSample

_KIB = 1024
_ACCOUNTS = {
    SLAB_CACHE: ("slab caches", "/proc/slabinfo"),
    VMALLOC_CALLER: ("vmalloc callers", "/proc/vmallocinfo"),
    CALL_SITE: ("call sites", "/proc/allocinfo"),
}
_MACHINE = ("/proc/meminfo", "/proc/vmstat", "/proc/zoneinfo", "/proc/vmallocinfo")


def take(machine: Machine) -> UsageSample:
    """What the machine says now; accounts that are not there, or not to be read, are left out."""
    amounts: dict[str, dict[str, int]] = {}
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    for kind, (name, path) in _ACCOUNTS.items():
        if rows := _rows_of(machine, kind, path, page_bytes):
            amounts[name] = rows
    amounts |= dict(_holders(machine, page_bytes))
    meminfo = _meminfo(machine)
    return UsageSample(
        boot=boot_id(machine.root),
        at=time.time(),
        uptime_s=time.clock_gettime(time.CLOCK_BOOTTIME),
        ram_bytes=meminfo.get("MemTotal", 0) * _KIB,
        available_bytes=meminfo["MemAvailable"] * _KIB if "MemAvailable" in meminfo else None,
        unaccounted_bytes=_unaccounted(machine, page_bytes),
        amounts=amounts,
    )


def _rows_of(machine: Machine, kind: str, path: str, page_bytes: int) -> dict[str, int]:
    try:
        readings = read(machine.path(path), page_size_bytes=page_bytes).readings
    except (OomscopeError, OSError):
        return {}
    tables = [each for reading in readings for each in reading.notes.accounts.tables if each.kind == kind]
    if kind == CALL_SITE:
        return dict(amounts_of_sites(entry for each in tables for entry in each.entries)[CULPRIT])
    return amounts_of_accounts(tables, page_bytes)


def _holders(machine: Machine, page_bytes: int) -> Iterator[tuple[str, dict[str, int]]]:
    """Pages by culprit, where somebody keeps account of who took them."""
    try:
        if machine.is_root and arm.is_tracking(machine):
            (reading,) = read_tracked(machine)
            if reading.counts is not None:
                yield "tracked owners", _bytes(amounts_of_stacks(reading.counts)[CULPRIT], page_bytes)
    except (OomscopeError, OSError, ValueError):
        pass
    try:
        counts = read(machine.path(SHOW_STACKS), page_size_bytes=page_bytes).latest.counts
        yield "page_owner", _bytes(amounts_of_stacks(counts)[CULPRIT], page_bytes)
    except (OomscopeError, OSError):
        pass


def _bytes(pages: object, page_bytes: int) -> dict[str, int]:
    return {name: count * page_bytes for name, count in dict(pages).items()}  # type: ignore[call-overload]


def _meminfo(machine: Machine) -> dict[str, int]:
    try:
        readings = read(machine.path("/proc/meminfo")).readings
    except (OomscopeError, OSError):
        return {}
    return next((dict(r.notes.accounts.meminfo.kib) for r in readings if r.notes.accounts.meminfo is not None), {})


def _unaccounted(machine: Machine, page_bytes: int) -> int | None:
    """What no counter has of RAM, as `explain` works it out; None where that cannot be told."""
    paths = [path for each in _MACHINE if os.access(path := machine.path(each), os.R_OK)]
    try:
        balance = explain(*paths, page_size_bytes=page_bytes).balance
    except (OomscopeError, OSError):
        return None
    return None if balance is None or balance.unexplained_pages < 0 else balance.unexplained_pages * page_bytes


def main() -> None:
    """Take one, keep it, and answer with it and with what grew: a line of JSON on the standard output."""
    asked = argparse.ArgumentParser(prog="oomscope.watch.sample")
    asked.add_argument("--history", type=Path)
    asked.add_argument("--most-readings", type=int, default=2016)
    asked.add_argument("--root", type=Path, default=Path("/"))
    words = asked.parse_args()
    sample = take(Machine(words.root))
    answer = TakenSample(sample, [])
    if words.history is not None:
        history = History(words.history, most_readings=words.most_readings)
        try:
            history.add(sample)
            answer.growers = trend.growers(
                history.series(), ram_bytes=sample.ram_bytes, available_bytes=sample.available_bytes
            )
        except NothingToExplain:
            pass
        except OomscopeError as error:
            answer.failure = str(error)
    data = memoryview(msgspec.json.encode(answer) + b"\n")
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    main()
