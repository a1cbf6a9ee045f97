"""What grows steadily over many readings: the median slope of all pairs (Theil, Sen), which no single jump decides."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from oomscope.model.usage_sample import LEAST_READINGS, Grower
from oomscope.numeric import np

_RISING = 0.8  # of the steps
_PAIRS_RISING = 0.9  # of all points with each other: chance has hardly ever so many
_LEAST_BYTES, _LEAST_SHARE = 1 << 20, 0.0005  # of RAM: what grew by less over all readings is not worth a word
_MOST_SCATTER = 0.25  # the median distance from the line, against the growth itself
_POINTS = (10, 20, 40)  # that a span of readings is put together to: noise and an hourly job are no steps then
_DRIFT = 6.0  # standard errors of the mean step
_GOES_ON = 0.6  # the last third's slope, against that of all: what saturates is no leak
_AT_THE_SAME_PACE = 0.1  # of it
_FORESEEN = 48  # times the span that was seen: nothing is said of what lies beyond
_DAY_S = 86400.0
# Caches of files and names, and what file systems keep beside them: they give back what is needed. Sockets do not.
_RECLAIMABLE = re.compile(
    r"dentry|(?<!sock_)inode|extent|kmalloc-rcl|znode|zfs|dnode|arc_buf|jbd2|buffer_head|radix_tree_node|xarray_node|"
    r"names_cache|xfs_|btrfs_|ext4_|page.?cache|filemap|readahead|(?<!\w)bio"
)
UNACCOUNTED = "unaccounted for"
WHO = ("tracked owners", "page_owner", "call sites", "vmalloc callers")

Series = Sequence[tuple[float, int]]
if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]


def growers(series: Mapping[tuple[str, str], Series], *, ram_bytes: int, available_bytes: int | None) -> list[Grower]:
    """Those that grew steadily, the fastest first; `series` are (seconds since the epoch, bytes) by account and holder.

    A series counts with ten readings or more, four fifths of its steps rising. What is noise or an hourly job on one
    scale is steady on a coarser one; what began of late is steady over the last half, quarter, ...
    """
    found = [each for key, points in series.items() if (each := _grower(key, points, ram_bytes)) is not None]
    found.sort(key=lambda each: (-each.bytes_per_day, _rank(each.account)))
    return _once(_with_the_rest(each, found, available_bytes) for each in found)


def _rank(account: str) -> int:
    return WHO.index(account) if account in WHO else len(WHO)


def _once(growers_found: Iterable[Grower]) -> list[Grower]:
    """One leak stands in several accounts: it is told by the one that says most.

    A cache with who allocates it says more than who allocates; who allocates says more than that no counter has it.
    """
    told = list(growers_found)
    explained = {each.by for each in told if each.by is not None and each.holder != UNACCOUNTED}
    kept: list[Grower] = []
    for each in told:
        if each.account in WHO:
            if each.holder in explained or any(_is_the_same(each, other) for other in kept):
                continue
        elif each.holder == UNACCOUNTED and each.by is not None:
            continue
        kept.append(each)
    return kept


def _is_the_same(one: Grower, other: Grower) -> bool:
    apart = abs(one.bytes_per_day - other.bytes_per_day)
    return one.holder == other.holder and apart <= _AT_THE_SAME_PACE * other.bytes_per_day


def _grower(key: tuple[str, str], points: Series, ram_bytes: int) -> Grower | None:
    """By the longest span up to now that grew steadily: what began yesterday need not wait for a week."""
    account, holder = key
    if _RECLAIMABLE.search(holder) is not None:
        return None
    span = len(points)
    while span >= LEAST_READINGS:
        seen = points[-span:]
        if (found := _steady(seen, ram_bytes)) is not None:
            per_s, rising = found
            return Grower(
                account=account,
                holder=holder,
                now_bytes=int(seen[-1][1]),
                bytes_per_day=per_s * _DAY_S,
                over_s=float(seen[-1][0] - seen[0][0]),
                readings=len(seen),
                rising=rising,
                by=None,
                full_in_s=None,
                series=tuple((float(at), int(size)) for at, size in points),
            )
        span //= 2
    return None


def _steady(points: Series, ram_bytes: int) -> tuple[float, float] | None:
    """The slope in bytes a second and the share of steps that rise; None where it is no steady growth."""
    at = np.array([point[0] for point in points], np.float64)
    size = np.array([point[1] for point in points], np.float64)
    if at[-1] <= at[0]:
        return None
    for count in _POINTS:
        if len(points) < count:
            break
        few_at, few = _put_together(at, count), _put_together(size, count)
        if not _drifts(few_at, few):
            continue
        rising = float((np.diff(few) > 0).mean())
        per_s, pairs_rising, scatter = _theil_sen(few_at, few)
        growth = per_s * float(at[-1] - at[0])
        if (
            rising >= _RISING
            and pairs_rising >= _PAIRS_RISING
            and growth >= max(_LEAST_BYTES, _LEAST_SHARE * ram_bytes)
            and scatter <= _MOST_SCATTER * growth
            and _theil_sen(few_at[-(count // 3 + 1) :], few[-(count // 3 + 1) :])[0] >= _GOES_ON * per_s
        ):
            return per_s, rising
    return None


def _drifts(at: Floats, size: Floats) -> bool:
    """Whether it goes up by more than a walk without a drift does by chance: by as much as this hardly ever.

    What came between two readings counts by its time: there may be a gap.
    """
    apart = np.diff(at)
    if not (apart > 0).all():
        return False
    rates = np.diff(size) / apart
    return bool(rates.mean() * len(rates) ** 0.5 >= _DRIFT * rates.std())


def _put_together(values: Floats, count: int) -> Floats:
    """So many medians of neighbours."""
    return np.array([np.median(each) for each in np.array_split(values, count)])


def _theil_sen(at: Floats, size: Floats) -> tuple[float, float, float]:
    """The median slope, the share of pairs that rise, and the median distance of the points from the slope's line."""
    first, second = np.triu_indices(len(at), 1)
    apart = at[second] - at[first]
    slopes = (size[second] - size[first])[apart > 0] / apart[apart > 0]
    if not len(slopes):
        return 0.0, 0.0, 0.0
    slope = float(np.median(slopes))
    left = size - slope * (at - at[0])
    return slope, float((slopes > 0).mean()), float(np.median(np.abs(left - np.median(left))))


def _with_the_rest(grower: Grower, others: Iterable[Grower], available_bytes: int | None) -> Grower:
    """Who allocates it, by an account that says so and grew at the same pace; and when memory ends."""
    by = None
    if grower.account not in WHO:
        near = [
            other
            for other in others
            if other.account in WHO
            and abs(other.bytes_per_day - grower.bytes_per_day) <= _AT_THE_SAME_PACE * grower.bytes_per_day
        ]
        near.sort(key=lambda other: (WHO.index(other.account), abs(other.bytes_per_day - grower.bytes_per_day)))
        by = near[0].holder if near else None
    full_s = None if available_bytes is None else available_bytes / grower.bytes_per_day * _DAY_S
    is_foreseen = full_s is not None and full_s <= _FORESEEN * grower.over_s
    return replace(grower, by=by, full_in_s=full_s if is_foreseen else None)
