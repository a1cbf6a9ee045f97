"""Fleets of real captures: reports of the corpus and guests' own, laid out as device labs do it."""

from __future__ import annotations

import os
from pathlib import Path

from fuzz.packed import tar_of
from oomscope.model.triage import Case
from oomscope.triage import steps
from oomscope.triage.cache import Cache
from oomscope.triage.executor import Executor
from oomscope.triage.labels import Labels
from oomscope.triage.processes import Processes
from tests.support import captures, corpus

# Of the corpus: one report of each class and form, small enough to be read often.
REPORTS = (
    "001-el6-sshd-java-swap-full.log",
    "006-sles-order4-fincore-nss.log",
    "025-stress-memcg-1MB-stat-before-after.log",
    "034-ceph-vm-dmesg-T-gfp-atomic.log",
    "042-i386-mkfs-lowmem-wrapped-x2.log",
    "057-syz-io_uring-slab-panic.log",
    "064-ppc32-modules-vmalloc-space.log",
    "086-nfsd-page-leak-88pct.log",
    "106-steamdeck-pstore-memchewer.log",
    "120-ltp-oom02-deadlock-panic.log",
)
WRITTEN = 1_700_000_000.0  # 2023-11-14T22:13:20Z


def log(name: str) -> bytes:
    """A report of the corpus."""
    return captures.text(corpus.path(name))


def lay_out(folder: Path) -> Path:
    """Two sites with hosts: logs, an archive with a log in it, and a case of several files. Returns the folder."""
    for number, name in enumerate(REPORTS):
        write(folder / f"site-{number % 2}" / f"host-{number % 3}" / name, log(name))
    case = folder / "site-1" / "leak"
    for path in (captures.AFTER_6_12, captures.CASE_6_12 / "meminfo"):
        write(case / path.name, path.read_bytes())
    write(folder / "site-0" / "host-9" / "case.tar", tar_of({"var/log/kern.log": log(REPORTS[0])}))
    return folder


def write(path: Path, content: bytes) -> None:
    """A file with its folders, written at a known time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (WRITTEN, WRITTEN))


def triaged(
    *places: Path | str,
    grouping: str = "auto",
    labels: Labels | None = None,
    engine: Executor | None = None,
    results: Path | None = None,
) -> list[Case]:
    """All cases of these places, explained by two processes unless told otherwise."""
    labels = labels or Labels()
    with engine or Processes(2) as working, Cache(results) as kept:
        found = steps.find(
            [str(place) for place in places],
            grouping=grouping,
            engine=working,
            by_content=results is not None,
            labelled=len(labels.pattern),
        )
        steps.explain_all(found.units, engine=working, results=kept)
        return list(steps.cases(found.units, kept, labels))
