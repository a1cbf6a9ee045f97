from __future__ import annotations

import random

import pytest

from oomscope.attribution.trend import growers
from oomscope.model.usage_sample import LEAST_READINGS

RAM, DAY_S = 8 << 30, 86400.0
MIB = 1 << 20
Series = dict[tuple[str, str], list[tuple[float, int]]]


def series(sizes: list[int], *, every_s: float = 300.0) -> list[tuple[float, int]]:
    return [(number * every_s, size) for number, size in enumerate(sizes)]


def found(of: Series, available_bytes: int | None = None) -> list[str]:
    return [each.holder for each in growers(of, ram_bytes=RAM, available_bytes=available_bytes)]


def test_a_leak_among_churn_is_found_and_nothing_else() -> None:
    """Fifty pages a second beside two thousand that come and go, over thirty seeds."""
    for seed in range(30):
        draw = random.Random(seed)
        of: Series = {("slab caches", "kmalloc-64"): series([number * 300 * 50 * 4096 for number in range(12)])}
        for number in range(60):
            churn = [200 * MIB + draw.randint(-1000, 1000) * 4096 for _ in range(12)]
            of[("slab caches", f"churn-{number}")] = series(churn)
        assert found(of) == ["kmalloc-64"], seed


def test_a_random_walk_is_no_leak() -> None:
    """It rises for a while, as anything does: over a thousand walks hardly one is called a leak."""
    draw, called = random.Random(1), 0
    for _ in range(1000):
        size, sizes = 500 * MIB, []
        for _ in range(20):
            size += draw.randint(-4, 4) * MIB
            sizes.append(size)
        called += len(found({("slab caches", "walk"): series(sizes)}))
    assert called <= 2


@pytest.mark.parametrize(
    "sizes",
    [
        [n * MIB for n in range(LEAST_READINGS - 1)],  # too few
        [100 * MIB] * 20,  # nothing
        [100 * MIB] * 10 + [900 * MIB] * 10,  # one jump
        [n * 1024 for n in range(20)],  # next to nothing
        [(100 + (n % 4) * 10) * MIB for n in range(20)],  # a saw
        [(100 - n) * MIB for n in range(20)],  # the other way
    ],
    ids=["few", "flat", "jump", "little", "saw", "falling"],
)
def test_what_is_no_steady_growth_is_none(sizes: list[int]) -> None:
    """Ten readings or more, four fifths of the steps rising, and more than noise."""
    assert found({("slab caches", "x"): series(sizes)}) == []


def test_caches_of_files_and_names_are_no_leaks() -> None:
    """They give back what is needed."""
    of: Series = {
        ("slab caches", name): series([n * 10 * MIB for n in range(20)]) for name in ("dentry", "xfs_inode_cache")
    }
    assert found(of) == []


NOISE = random.Random(7)
WEEK = 2016
LEAKS = {
    "noise of more than a step": [int(n * 4.3 * MIB + NOISE.gauss(0, 6) * MIB) + 100 * MIB for n in range(WEEK)],
    "begun yesterday": [100 * MIB] * 1728 + [100 * MIB + n * 28 * MIB for n in range(288)],
    "an hourly job": [100 * MIB + (n // 12) * 100 * MIB for n in range(WEEK)],
    "every other reading": [100 * MIB + (n // 2) * 8 * MIB for n in range(200)],
}


@pytest.mark.parametrize("sizes", LEAKS.values(), ids=LEAKS)
def test_a_leak_is_found_on_its_own_scale(sizes: list[int]) -> None:
    """Of sockets, too, whose cache is one of inodes by its name."""
    assert found({("slab caches", "sock_inode_cache"): series(sizes)}) == ["sock_inode_cache"]


def test_what_saturates_is_no_leak() -> None:
    """Start-up: fast at first, then slower and slower."""
    sizes = [int(400 * MIB * (1 - 2.718 ** (-n / 4))) for n in range(20)]
    assert found({("slab caches", "kmalloc-1k"): series(sizes)}) == []


def test_one_outlier_decides_nothing() -> None:
    """The median slope is that of the others."""
    sizes = [100 * MIB + n * MIB for n in range(30)]
    sizes[17] = 4 << 30
    (grower,) = growers({("slab caches", "x"): series(sizes)}, ram_bytes=RAM, available_bytes=None)
    assert grower.bytes_per_day == pytest.approx(MIB * DAY_S / 300, rel=0.05)


def test_who_allocates_it_is_named_and_when_memory_ends() -> None:
    """By an account that knows, at the same pace; not by one that grows at another."""
    of: Series = {
        ("slab caches", "kmalloc-64"): series([n * MIB for n in range(20)]),
        ("page_owner", "leaker [driver]"): series([n * MIB + 4096 for n in range(20)]),
        ("page_owner", "other"): series([n * 10 * MIB for n in range(20)]),
    }
    of[("call sites", "leaker [driver]")] = of[("page_owner", "leaker [driver]")]
    of[("machine", "unaccounted for")] = of[("page_owner", "leaker [driver]")]
    told = growers(of, ram_bytes=RAM, available_bytes=288 * MIB)
    assert [each.holder for each in told] == ["other", "kmalloc-64"], "one leak is told once"
    slab = next(each for each in told if each.account == "slab caches")
    assert slab.by == "leaker [driver]"
    assert slab.full_in_s == pytest.approx(DAY_S, rel=0.01)
    (short,) = growers({("slab caches", "x"): series([n * MIB for n in range(20)])}, ram_bytes=RAM, available_bytes=RAM)
    assert short.full_in_s is None, "nothing is said of what lies far beyond what was seen"
    assert told[0].holder == "other", "the fastest first"
