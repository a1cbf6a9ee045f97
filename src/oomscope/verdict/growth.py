"""What allocation times tell about growth: as much as one dump can, and what two moments prove."""

from __future__ import annotations

from oomscope.model.batch import Column
from oomscope.model.counts import Ages
from oomscope.model.ranked import Recent
from oomscope.numeric import np
from oomscope.units import duration_text, uptime_text

EVEN = "spread evenly"
RECENT = "recent"
BURST = "one burst"
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


def patterns(ages: Ages, first_ns: Column, captured_ns: int) -> list[str | None]:
    """How each holding's pages are spread over the time up to the dump; None where they are too few to tell.

    `ages.pages` has shape (N, bins), `first_ns` (N,).
    """
    pages = ages.pages.sum(axis=1)
    tellable = (pages >= _FEWEST_PAGES) & (captured_ns > 0)
    cumulated = np.cumsum(ages.pages, axis=1) / np.maximum(pages, 1)[:, np.newaxis]
    edges_ns = (np.arange(ages.pages.shape[1]) + 1) * ages.bin_ns
    early_ns = np.argmax(cumulated >= (1 - _BULK) / 2, axis=1) * ages.bin_ns
    late_ns = (np.argmax(cumulated >= (1 + _BULK) / 2, axis=1) + 1) * ages.bin_ns
    width_ns = np.minimum(late_ns, captured_ns) - np.maximum(early_ns, first_ns)
    is_narrow = width_ns <= _NARROW * captured_ns + ages.bin_ns
    is_recent = early_ns >= (1 - 2 * _NARROW) * captured_ns
    reach_ns = np.maximum(captured_ns - first_ns, 1)[:, np.newaxis]
    straight = np.clip((edges_ns - first_ns[:, np.newaxis]) / reach_ns, 0, 1)
    is_straight = np.abs(cumulated - straight).max(axis=1, initial=0) <= _STRAIGHT
    is_even = (reach_ns[:, 0] >= _COVERS * captured_ns) & is_straight
    told = np.select([~tellable, is_narrow & is_recent, is_narrow, is_even], ["", RECENT, BURST, EVEN], MIXED)
    return [text or None for text in told.tolist()]


def spreads(ages: Ages, first_ns: Column, last_ns: Column) -> list[tuple[int, int, int] | None]:
    """The times by which 5, 50 and 95 of 100 pages of each holding were allocated; None where no time is known.

    A bin's end stands for it, kept within the holding's first and last time.
    """
    pages = ages.pages.sum(axis=1)
    cumulated = np.cumsum(ages.pages, axis=1) / np.maximum(pages, 1)[:, np.newaxis]
    columns = [
        np.clip((np.argmax(cumulated >= part, axis=1) + 1) * ages.bin_ns, first_ns, last_ns).tolist()
        for part in (0.05, 0.5, 0.95)
    ]
    return [times if known else None for times, known in zip(zip(*columns, strict=True), pages > 0, strict=True)]


def recents(ages: Ages, captured_ns: int) -> list[Recent]:
    """What of each holding was allocated in the last interval before the dump: two bins, the last one cut by the dump.

    Pages that were freed again are in no dump: a rate of what stayed.
    """
    start = max(captured_ns // ages.bin_ns - 1, 0)
    pages = ages.pages[:, start:].sum(axis=1)
    return [Recent(captured_ns - start * ages.bin_ns, count) for count in pages.tolist()]


def one_dump(told: str | None, first_ns: int | None, last_ns: int | None) -> str | None:
    """One clause for people: when these pages were allocated, and what that may mean."""
    if told is None or first_ns is None or last_ns is None:
        return None
    span = f"{uptime_text(first_ns)} to {uptime_text(last_ns)}"
    if told == EVEN:
        return f"{EVEN} over {duration_text(last_ns - first_ns)} ({span}): looks like a leak"
    if told == RECENT:
        return f"{RECENT}, {span}: churn or a burst"
    if told == BURST:
        return f"{BURST}, {span}: still held"
    return f"{MIXED} in allocation times, {span}"


def two_moments(pages: int, earlier_pages: int, apart_ns: int | None) -> str:
    """One clause for people: how much more (or less) than at the earlier moment."""
    change = pages - earlier_pages
    when = (
        "since the earlier reading"
        if apart_ns is None
        else f"in the {duration_text(apart_ns)} since the earlier reading"
    )
    return f"{change:+,} pages {when}"
