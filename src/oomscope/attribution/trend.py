"""What grows steadily over many readings: the median slope of all pairs (Theil, Sen), which no single jump decides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from oomscope.model.usage_sample import LEAST_READINGS, Grower
from oomscope.numeric import np

_RISING = 0.8  # of the steps
_PAIRS_RISING = 0.9  # of all readings with each other: chance has hardly ever so many
_LEAST_BYTES, _LEAST_SHARE = 1 << 20, 0.0005  # of RAM: what grew by less over all readings is not worth a word
_MOST_SCATTER = 0.25  # the median distance from the line, against the growth itself
_MOST_POINTS = 200  # of one series: pairs grow with the square
_AT_THE_SAME_PACE = 0.5  # of it
_DAY_S = 86400.0
# Caches of files and names: they give back what is needed.
_RECLAIMABLE = ("dentry", "inode_cache", "buffer_head", "radix_tree_node", "xfs_ili", "names_cache")
# Accounts that say who allocates, in the order of how much that says.
UNACCOUNTED = "unaccounted for"
WHO = ("tracked owners", "page_owner", "call sites", "vmalloc callers")

Series = Sequence[tuple[float, int]]
if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]


def growers(series: Mapping[tuple[str, str], Series], *, ram_bytes: int, available_bytes: int | None) -> list[Grower]:
    """Those that grew steadily, the fastest first; `series` are (seconds since the epoch, bytes) by account and holder.

    A series counts with ten readings or more, four fifths of its steps rising.
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
    account, holder = key
    if len(points) < LEAST_READINGS or _is_reclaimable(holder):
        return None
    at = np.array([point[0] for point in points], np.float64)
    size = np.array([point[1] for point in points], np.float64)
    rising = float((np.diff(size) > 0).mean())
    if rising < _RISING or at[-1] <= at[0]:
        return None
    per_s, pairs_rising, scatter = _theil_sen(at, size)
    growth = per_s * float(at[-1] - at[0])
    if growth < max(_LEAST_BYTES, _LEAST_SHARE * ram_bytes) or scatter > _MOST_SCATTER * growth:
        return None
    if pairs_rising < _PAIRS_RISING:
        return None
    return Grower(
        account=account,
        holder=holder,
        now_bytes=int(size[-1]),
        bytes_per_day=per_s * _DAY_S,
        over_s=float(at[-1] - at[0]),
        readings=len(points),
        rising=rising,
        by=None,
        full_in_s=None,
        series=tuple((float(a), int(b)) for a, b in points),
    )


def _theil_sen(at: Floats, size: Floats) -> tuple[float, float, float]:
    """The median slope, the share of pairs that rise, and the median distance of the points from the slope's line."""
    if len(at) > _MOST_POINTS:
        chosen = np.linspace(0, len(at) - 1, _MOST_POINTS).astype(np.int64)
        at, size = at[chosen], size[chosen]
    first, second = np.triu_indices(len(at), 1)
    apart = at[second] - at[first]
    slopes = (size[second] - size[first])[apart > 0] / apart[apart > 0]
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
    full = None if available_bytes is None else available_bytes / grower.bytes_per_day * _DAY_S
    return Grower(
        grower.account, grower.holder, grower.now_bytes, grower.bytes_per_day, grower.over_s, grower.readings,
        grower.rising, by, full, grower.series,
    )  # fmt: skip


def _is_reclaimable(holder: str) -> bool:
    return holder in _RECLAIMABLE or holder.endswith("inode_cache")
