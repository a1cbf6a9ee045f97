"""vmalloc: RAM that is in no counter of the report is mapped by vmalloc, as other evidence tells."""

from __future__ import annotations

from dataclasses import replace

from oomscope.model.verdict import CERTAIN, LIKELY
from oomscope.verdict.oom.case import HIDDEN_KERNEL, VMALLOC, Cause, OomCase

_MOST = 0.5


def refined(case: OomCase, cause: Cause, vmalloc_pages: int, by: str) -> Cause:
    """The cause with its name, where vmalloc maps most of what the report leaves unexplained; else as it was.

    `vmalloc_pages` is what `by` (allocation stacks, a census, /proc/vmallocinfo) counts.
    """
    hidden = case.accounting.unexplained_pages or 0
    if cause.oom_class != HIDDEN_KERNEL or hidden <= 0 or vmalloc_pages < _MOST * hidden:
        return cause
    finding = cause.finding
    return Cause(
        VMALLOC,
        replace(
            finding,
            claim=f"vmalloc maps {case.size(vmalloc_pages)} of the {case.size(hidden)} ({case.share_words(hidden)}) "
            "that are unaccounted for",
            certainty=CERTAIN if finding.certainty == CERTAIN else LIKELY,
            because=(*finding.because, f"{by}: {vmalloc_pages:,} pages through vmalloc"),
            refuted_by="a /proc/vmallocinfo of that moment with few pages",
            next="rank the callers: sort by pages= in /proc/vmallocinfo, or page_owner by culprit",
        ),
    )
