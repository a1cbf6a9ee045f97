"""Two counts of the same pages: never added, their difference explained by name."""

from __future__ import annotations

from oomscope.attribution.change import Comparison, compare
from oomscope.attribution.culprit import name_of
from oomscope.model.evidence import Moment
from oomscope.model.verdict import Difference, WitnessReport

_NAMES = {
    "early": "early pages: page_owner_stacks does not count what was allocated before page_owner started",
    "dummy": "page_owner's own pages: page_owner_stacks does not count them",
    "failure": "pages whose stack the depot had no room for: page_owner_stacks does not count them",
    "lost": "not in page_owner_stacks though allocated well before: lost by the kernel, or skipped between two reads",
    "young": "allocated between the two readings, by a stack page_owner_stacks had not met",
    "moved": "more in the dump: allocated between the two readings",
    "freed": "fewer in the dump: freed between the two readings",
}
_STACKS_NAMED = 5


def reports(moment: Moment) -> tuple[WitnessReport, ...]:
    """One report per witness of a moment that counts what the moment counts."""
    found = []
    for witness in moment.witnesses:
        if witness.counts is None:
            continue
        comparison = compare(moment.counts, witness.counts)
        if comparison is not None:
            found.append(
                WitnessReport(
                    origin=witness.origin,
                    witness_of=moment.reading.origin,
                    unit=comparison.unit,
                    ours=comparison.ours,
                    theirs=comparison.theirs,
                    parts=_parts(comparison),
                )
            )
    return tuple(found)


def _parts(comparison: Comparison) -> tuple[Difference, ...]:
    parts = []
    for reason, name in _NAMES.items():
        of_reason = [d for d in comparison.differences if d.reason == reason]
        if of_reason:
            named = of_reason[:_STACKS_NAMED]
            stacks = ", ".join(f"{name_of(d.stack)} {d.difference:+,}" for d in named)
            more = f" and {len(of_reason) - len(named)} more stacks" if len(of_reason) > len(named) else ""
            parts.append(Difference(name, comparison.total_of(reason), stacks + more))
    return tuple(parts)
