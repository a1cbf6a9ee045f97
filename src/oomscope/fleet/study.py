"""The question of the 2020 study: does the report explain a case by itself, or does that take page owner data."""

from __future__ import annotations

from oomscope.fleet.signature import named
from oomscope.model.fleet import BY_REPORT, BY_STACKS, LACKING, UNDETERMINED
from oomscope.model.verdict import POSSIBLE, Verdict
from oomscope.verdict.oom.case import SLAB
from oomscope.verdict.oom.case import UNDETERMINED as NO_CLASS
from oomscope.verdict.oom.judgement import WANTS_A_NAME


def answered_by(verdict: Verdict) -> str:
    """Which of model.fleet.ANSWERS it is.

    A report explains what it counts: a class whose holder it names, slab with its table of caches among them. Memory
    that it does not name takes stacks: page_owner, tracked pages, at-panic lines, a core dump.
    """
    if named(verdict) is not None:
        return BY_STACKS
    oom = verdict.oom
    if oom is None:
        return UNDETERMINED
    if oom.oom_class in WANTS_A_NAME:
        return BY_REPORT if _names_it(verdict) else LACKING
    return UNDETERMINED if oom.oom_class == NO_CLASS or oom.certainty in (None, POSSIBLE) else BY_REPORT


def _names_it(verdict: Verdict) -> bool:
    """Whether the kernel's own accounts name who holds such memory: caches, call sites, areas of vmalloc."""
    if verdict.ledgers:
        return True
    event = None if verdict.oom is None or verdict.oom.analysis is None else verdict.oom.analysis.event
    if event is None or verdict.oom is None:
        return False
    return bool(event.call_sites) or (verdict.oom.oom_class == SLAB and bool(event.slab_caches))
