"""Two counts of the same pages: never added, their difference explained by name."""

from __future__ import annotations

from oomscope.attribution.culprit import name_of
from oomscope.attribution.witness_comparison import Comparison, compare
from oomscope.model.evidence import Moment
from oomscope.model.verdict import WitnessDifference, WitnessReport

_NAMES = {
    "early": "early pages: page_owner_stacks does not count what was allocated before page_owner started",
    "dummy": "page_owner's own pages: page_owner_stacks does not count them",
    "failure": "pages whose stack the depot had no room for: page_owner_stacks does not count them",
    "unlisted": "not in page_owner_stacks: requests that may not reclaim (most slabs), which newer kernels do not list",
    "lost": "not in page_owner_stacks though allocated well before: lost by the kernel, or skipped between two reads",
    "young": "allocated between the two readings, by a stack page_owner_stacks had not met",
    "moved": "more in the dump: allocated between the two readings",
    "freed": "fewer in the dump: freed between the two readings",
}
# Two counts within one dump are of one moment: nothing was allocated or freed between them.
_WITHIN_ONE_DUMP = "within one dump, so that one of the two is damaged, or could not be read in part"
_STACKS_NAMED = 5


def reports(moment: Moment) -> tuple[WitnessReport, ...]:
    """One report per witness of a moment that counts what the moment counts."""
    found = []
    for witness in moment.witnesses:
        if witness.counts is None:
            continue
        comparison = compare(moment.counts, witness.counts, listed_only=witness.notes.log.reports > 0)
        if comparison is not None:
            found.append(
                WitnessReport(
                    origin=witness.origin,
                    witness_of=moment.reading.origin,
                    unit=comparison.unit,
                    ours=comparison.ours,
                    theirs=comparison.theirs,
                    parts=_parts(comparison, within_one_dump=witness.witness_of is not None),
                )
            )
    return tuple(found)


def _parts(comparison: Comparison, *, within_one_dump: bool) -> tuple[WitnessDifference, ...]:
    parts = []
    for reason, name in _NAMES.items():
        of_reason = [d for d in comparison.differences if d.reason == reason]
        if of_reason:
            named = of_reason[:_STACKS_NAMED]
            stacks = ", ".join(f"{name_of(d.stack)} {d.difference:+,}" for d in named)
            more = f" and {len(of_reason) - len(named)} more stacks" if len(of_reason) > len(named) else ""
            told = _WITHIN_ONE_DUMP if within_one_dump and reason in ("moved", "freed", "young") else name
            parts.append(WitnessDifference(reason, told, comparison.total_of(reason), stacks + more))
    return tuple(parts)
