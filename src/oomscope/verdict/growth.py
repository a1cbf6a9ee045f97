"""What allocation times tell about growth: as much as one dump can, and what two moments prove."""

from __future__ import annotations

import numpy as np

from oomscope.model.counts import Ages
from oomscope.units import duration_text, uptime_text

EVEN = "spread evenly"
RECENT = "recent"
BURST = "taken in one go"
MIXED = "no clear pattern"
# Below this many pages, the spread over time is chance.
_FEWEST_PAGES = 64
# A holding is of one age when nine tenths of its pages fall into one tenth of the uptime.
_BULK = 0.9
_NARROW = 0.1
# It is spread evenly when it covers half of the uptime up to the end and the largest distance between its cumulated
# pages and a straight line (Kolmogorov's) stays below a fifth.
_COVERS = 0.5
_STRAIGHT = 0.2


def pattern(ages: Ages, first_ns: int, captured_ns: int) -> str | None:
    """How a holding's pages are spread over the time up to the dump; None where they are too few to tell."""
    pages = int(ages.pages.sum())
    if pages < _FEWEST_PAGES or captured_ns <= 0:
        return None
    cumulated = np.cumsum(ages.pages) / pages
    edges_ns = (np.arange(len(ages.pages)) + 1) * ages.bin_ns
    early_ns = int(edges_ns[np.searchsorted(cumulated, (1 - _BULK) / 2)]) - ages.bin_ns
    late_ns = int(edges_ns[np.searchsorted(cumulated, (1 + _BULK) / 2)])
    if min(late_ns, captured_ns) - max(early_ns, first_ns) <= _NARROW * captured_ns + ages.bin_ns:
        return RECENT if early_ns >= (1 - 2 * _NARROW) * captured_ns else BURST
    reach_ns = captured_ns - first_ns
    if reach_ns >= _COVERS * captured_ns:
        straight = np.clip((edges_ns - first_ns) / reach_ns, 0, 1)
        if float(np.abs(cumulated - straight).max()) <= _STRAIGHT:
            return EVEN
    return MIXED


def one_dump(ages: Ages, first_ns: int | None, last_ns: int | None, captured_ns: int | None) -> str | None:
    """One clause for people: when these pages were allocated, and what that may mean."""
    if first_ns is None or last_ns is None or captured_ns is None:
        return None
    told = pattern(ages, first_ns, captured_ns)
    span = f"{uptime_text(first_ns)} to {uptime_text(last_ns)}"
    if told == EVEN:
        return f"{EVEN} over {duration_text(last_ns - first_ns)} ({span}): looks like a leak"
    if told == RECENT:
        return f"{RECENT}, {span}: churn or a burst"
    if told == BURST:
        return f"{BURST}, {span}: held ever since"
    if told == MIXED:
        return f"{MIXED} in allocation times, {span}"
    return None


def two_moments(pages: int, earlier_pages: int, apart_ns: int | None) -> str:
    """One clause for people: how much more (or less) than at the earlier moment."""
    change = pages - earlier_pages
    when = (
        "since the earlier reading"
        if apart_ns is None
        else f"in the {duration_text(apart_ns)} since the earlier reading"
    )
    return f"{change:+,} pages {when}"
