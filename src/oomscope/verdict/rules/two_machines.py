"""Inputs of two kernels: two machines, or one before and after an update. Nothing of one tells of the other."""

from __future__ import annotations

from oomscope.model.verdict import LIKELY, POSSIBLE, Finding
from oomscope.units import bytes_text
from oomscope.verdict.rules.case import RuleCase

_OTHER_RAM = 1.5  # times: a balloon or hotplug changes RAM as well, so that it is no proof


def rule(case: RuleCase) -> tuple[Finding, ...]:
    """Claims it by what the kernels call themselves; a RAM of quite another size is said, and no more."""
    return (*_by_release(case), *_by_ram(case))


def _by_release(case: RuleCase) -> tuple[Finding, ...]:
    told: dict[str, str] = {}
    for reading in case.facts.evidence.readings:
        if reading.notes.release is not None:
            told.setdefault(reading.notes.release, reading.origin)
    for logged in case.facts.evidence.events:
        release = logged.analysis.event.release
        if release is not None and release not in told:
            told[release] = logged.origin
    if len(told) < 2 or len(set(told.values())) < 2:
        return ()
    named = " and ".join(f"{release} ({origin.rsplit('/', 1)[-1]})" for release, origin in list(told.items())[:3])
    of = "of several machines" if len(told) > 2 else "of two machines, or one before an update and after"
    return (
        Finding(
            claim=f"the inputs are of {len(told)} kernels, {named}: {of}",
            pages=None,
            certainty=LIKELY,
            because=("each file names the kernel it is of",),
            refuted_by="a file that was taken on one machine and speaks of another",
            next="give the files of each machine by themselves, or the folder to oomscope triage",
        ),
    )


def _by_ram(case: RuleCase) -> tuple[Finding, ...]:
    meminfo, oom = case.facts.evidence.meminfo, case.event
    if meminfo is None or oom is None or oom.accounting.ram_pages is None or oom.analysis.page_bytes is None:
        return ()
    if oom.accounting.is_of_zones:
        return ()
    ram_bytes = oom.accounting.ram_pages * oom.analysis.page_bytes
    if 1 / _OTHER_RAM < meminfo.total_bytes / ram_bytes < _OTHER_RAM:
        return ()
    return (
        Finding(
            claim=f"/proc/meminfo has {bytes_text(meminfo.total_bytes)} of RAM, the report {bytes_text(ram_bytes)}: "
            "they are of two machines, or RAM changed in between (a balloon, hotplug, a crash kernel)",
            pages=None,
            certainty=POSSIBLE,
            because=("MemTotal", "`pages RAM` minus `pages reserved`"),
            refuted_by="the same machine before and after its balloon moved",
            next="hold the host names of both against each other",
        ),
    )
