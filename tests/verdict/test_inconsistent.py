"""Frames that are free and have an owner: a damaged dump, or frees that tracking has missed."""

from __future__ import annotations

from dataclasses import replace

import pytest

import oomscope
from oomscope.attribution.facts import Facts
from oomscope.attribution.selection import Selection
from oomscope.model.census import USES, Census
from oomscope.verdict.rules import inconsistent
from oomscope.verdict.rules.case import RuleCase
from tests.support import captures


@pytest.mark.parametrize(
    ("missed_frees", "told"),
    [
        (6, "3 pages are free and still have their last owner: tracking missed 6 events of pages being freed"),
        (0, "the snapshot is inconsistent: 3 pages are free by struct page and still tracked"),
        (None, "the snapshot is inconsistent: 3 pages are free by struct page and still tracked"),
    ],
)
def test_what_the_kernel_says_was_missed_is_no_damage(missed_frees: int | None, told: str) -> None:
    """The kernel's own count of events that were passed over decides."""
    evidence = oomscope.read(captures.DUMPS[0])
    census = Census(
        pages=dict.fromkeys(USES, 0),
        parts={},
        kernel_stacks=None,
        slab_stacks={},
        counters={},
        contradictions=3,
        free_early_pages=0,
        unowned_pages=0,
    )
    latest = evidence.latest
    notes = replace(latest.reading.notes, tracked_since_ns=1, missed_frees=missed_frees)
    moment = replace(latest, reading=replace(latest.reading, census=census, notes=notes))
    case = RuleCase(Facts(replace(evidence, moments=(moment,))), Selection(), (), (), (), (), ())
    assert [finding.claim for finding in inconsistent.rule(case) if "free" in finding.claim] == [told]
