"""Two counts of the same pages: never added, their difference explained by name."""

from __future__ import annotations

from oomscope.attribution.culprit import name_of
from oomscope.attribution.witness_comparison import Comparison, compare
from oomscope.model.evidence import Moment
from oomscope.model.reading import Reading, Role
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
# A report is a little older than the dump: until panic() stops the other processors, they go on.
_UNTIL_THE_END = {
    "young": "allocated after the report, before panic() stopped the other processors, by a stack it had not met",
    "moved": "more in the dump: allocated after the report, before panic() stopped the other processors",
    "freed": "fewer in the dump: freed after the report, before panic() stopped the other processors",
}
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
                    parts=_parts(comparison, _names(witness)),
                )
            )
    return tuple(found)


def _names(witness: Reading) -> dict[str, str]:
    if witness.witness_of is None:
        return _NAMES
    if witness.role is Role.LOG:
        return _NAMES | _UNTIL_THE_END
    return _NAMES | dict.fromkeys(_UNTIL_THE_END, _WITHIN_ONE_DUMP)


def _parts(comparison: Comparison, names: dict[str, str]) -> tuple[WitnessDifference, ...]:
    parts = []
    for reason, name in names.items():
        of_reason = [d for d in comparison.differences if d.reason == reason]
        if of_reason:
            named = of_reason[:_STACKS_NAMED]
            stacks = ", ".join(f"{name_of(d.stack)} {d.difference:+,}" for d in named)
            more = f" and {len(of_reason) - len(named)} more stacks" if len(of_reason) > len(named) else ""
            parts.append(WitnessDifference(reason, name, comparison.total_of(reason), stacks + more))
    return tuple(parts)
