"""Which readings count the same pages: each becomes the witness of the moment it agrees with, never added to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from oomscope.attribution.culprit import attribute
from oomscope.attribution.gfp import may_reclaim
from oomscope.model.counts import Counts
from oomscope.model.evidence import Moment
from oomscope.model.stack import Stack
from oomscope.numeric import np

# Two readings of one moment agree but for what was allocated and freed between them.
_AGREES_WITHIN = 0.1
_AGREES_WITHIN_LEAST = 64
_DUMPS_PER_WITNESS = 16


def with_counts(dumps: list[Moment], stacks: list[Moment]) -> tuple[list[Moment], list[Moment]]:
    """Give each dump the page_owner_stacks reading it agrees with; the readings that are left over."""
    amounts = [_amount(dump.counts) for dump in dumps]
    distances = sorted(
        (_distance(dumps[d].counts, witness.counts), d, w)
        for w, witness in enumerate(stacks)
        for d in _nearest(amounts, _amount(witness.counts))
    )
    matched_witnesses: set[int] = set()
    witness_of: dict[int, int] = {}
    for distance, d, w in distances:
        agrees = distance <= _AGREES_WITHIN * _amount(stacks[w].counts) + _AGREES_WITHIN_LEAST
        if agrees and d not in witness_of and w not in matched_witnesses:
            witness_of[d] = w
            matched_witnesses.add(w)
    matched = [
        replace(m, witnesses=(*m.witnesses, stacks[witness_of[d]].reading)) if d in witness_of else m
        for d, m in enumerate(dumps)
    ]
    return matched, [m for w, m in enumerate(stacks) if w not in matched_witnesses]


def _nearest(amounts: list[int], amount: int) -> list[int]:
    """The dumps that are worth holding against a witness: all of a few, of many those that count about as much."""
    return sorted(range(len(amounts)), key=lambda d: abs(amounts[d] - amount))[:_DUMPS_PER_WITNESS]


def unlisted(counts: Counts, listed: Mapping[Stack, int]) -> frozenset[Stack]:
    """Stacks that are not in page_owner_stacks because none of their requests may reclaim.

    Newer kernels leave such stacks out: mm/page_owner.c add_stack_record_to_list() returns early where
    gfpflags_allow_spinning() says no. A slab cache asks so for slabs larger than its smallest. Where most of these
    stacks are listed, the kernel is no such kernel and the set is empty.
    """
    requests = counts.requests
    reclaims = np.array([not r.gfp_flags or may_reclaim(r.gfp_flags) for r in requests.values], dtype=bool)
    if not reclaims.size:
        return frozenset()
    told = set(requests.pair_stack.tolist()) - set(requests.pair_stack[reclaims[requests.pair_value]].tolist())
    silent = frozenset(counts.stacks[index] for index in told)
    missing = silent - listed.keys()
    return missing if 2 * len(missing) > len(silent) else frozenset()


def _distance(dump: Counts, witness: Counts) -> int:
    """How far two counts of the same pages are apart, in pages (or allocations, where one counts those).

    What page_owner_stacks never counts (early pages and the like) is no distance, nor what newer kernels do not list.
    """
    ours, theirs = _common_sums(dump, witness)
    if ours is None or theirs is None:
        return 1 << 62
    left_out = unlisted(dump, theirs)
    counted = (ours.keys() | theirs.keys()) - left_out
    stacks = [stack for stack in counted if attribute(stack).label is None]
    return sum(abs(ours.get(stack, 0) - theirs.get(stack, 0)) for stack in stacks)


def _common_sums(one: Counts, other: Counts) -> tuple[dict[Stack, int] | None, dict[Stack, int] | None]:
    if one.pages is not None and other.pages is not None:
        return by_stack(one.stacks, one.pages), by_stack(other.stacks, other.pages)
    if one.blocks is not None and other.blocks is not None:
        return by_stack(one.stacks, one.blocks), by_stack(other.stacks, other.blocks)
    return None, None


def _amount(counts: Counts) -> int:
    column = counts.blocks if counts.pages is None else counts.pages
    return 0 if column is None else int(column.sum())


def with_reports(dumps: list[Moment], reports: list[Moment]) -> tuple[list[Moment], list[Moment]]:
    """What a dying kernel printed is the witness of the dump of its memory, where that knows every stack printed."""
    found, left = list(dumps), []
    for report in reports:
        printed = set(report.counts.stacks)
        fits = [
            i for i, dump in enumerate(found) if dump.reading.notes.log.panicked and printed <= set(dump.counts.stacks)
        ]
        if fits:
            dump = found[fits[-1]]
            found[fits[-1]] = replace(dump, witnesses=(*dump.witnesses, report.reading))
        else:
            left.append(report)
    return found, left


def by_stack(stacks: Iterable[Stack], values: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> dict[Stack, int]:
    """One number per stack."""
    return dict(zip(stacks, values.tolist(), strict=True))


def total_pages(counts: Counts) -> int | None:
    """All pages counted, None where the evidence counts allocations only."""
    return None if counts.pages is None else int(counts.pages.sum()) if counts.stacks else 0
