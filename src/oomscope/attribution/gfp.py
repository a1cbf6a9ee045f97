"""What a gfp flag's name stands for: the kernel prints composites where it can (include/linux/gfp_types.h).

Kernels before 4.6 print the mask alone; its bits are named here by their generation (include/linux/gfp.h of the time).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

_RECLAIM = frozenset({"__GFP_RECLAIM", "__GFP_DIRECT_RECLAIM", "__GFP_KSWAPD_RECLAIM"})
_NOFS = _RECLAIM | {"GFP_NOIO", "GFP_NOFS", "__GFP_IO"}
_KERNEL = _NOFS | {"GFP_KERNEL", "__GFP_FS"}
_USER = _KERNEL | {"GFP_USER", "__GFP_HARDWALL"}
_HIGHUSER = _USER | {"GFP_HIGHUSER", "__GFP_HIGHMEM"}
_MOVABLE = _HIGHUSER | {"GFP_HIGHUSER_MOVABLE", "__GFP_MOVABLE"}
_HUGE = (_MOVABLE - _RECLAIM) | {"__GFP_COMP", "__GFP_NOMEMALLOC", "__GFP_NOWARN", "GFP_TRANSHUGE_LIGHT"}
_STANDS_FOR: dict[str, frozenset[str]] = {
    "__GFP_RECLAIM": _RECLAIM,
    "GFP_ATOMIC": frozenset({"__GFP_HIGH", "__GFP_KSWAPD_RECLAIM"}),
    "GFP_NOWAIT": frozenset({"__GFP_KSWAPD_RECLAIM"}),
    "GFP_NOIO": _RECLAIM,
    "GFP_NOFS": _NOFS,
    "GFP_KERNEL": _KERNEL,
    "GFP_KERNEL_ACCOUNT": _KERNEL | {"__GFP_ACCOUNT"},
    "GFP_USER": _USER,
    "GFP_HIGHUSER": _HIGHUSER,
    "GFP_HIGHUSER_MOVABLE": _MOVABLE,
    "GFP_TRANSHUGE_LIGHT": _HUGE,
    "GFP_TRANSHUGE": _HUGE | {"__GFP_DIRECT_RECLAIM"},
}


def may_reclaim(names: str) -> bool:
    """Whether a request may set reclaim going, itself or through kswapd (gfpflags_allow_spinning() in gfp.h)."""
    return not flags_in(names).isdisjoint(_RECLAIM)


@cache
def flags_in(names: str) -> frozenset[str]:
    """All flags, single and composite, that a printed `A|B` carries."""
    return frozenset().union(*({name} | _STANDS_FOR.get(name, frozenset()) for name in names.split("|")))


# Up to 4.3 one bit says that a request may wait; 4.4 and 4.5 tell kswapd's reclaim from the request's own.
ONE_WAIT, SPLIT_WAIT = "up to 4.3", "4.4 and 4.5"
_KSWAPD_RECLAIM = 0x2000000
_COMMON: Mapping[int, str] = {
    0x01: "__GFP_DMA", 0x02: "__GFP_HIGHMEM", 0x04: "__GFP_DMA32", 0x08: "__GFP_MOVABLE", 0x20: "__GFP_HIGH",
    0x40: "__GFP_IO", 0x80: "__GFP_FS", 0x100: "__GFP_COLD", 0x200: "__GFP_NOWARN", 0x400: "__GFP_REPEAT",
    0x800: "__GFP_NOFAIL", 0x1000: "__GFP_NORETRY", 0x2000: "__GFP_MEMALLOC", 0x4000: "__GFP_COMP",
    0x8000: "__GFP_ZERO", 0x10000: "__GFP_NOMEMALLOC", 0x20000: "__GFP_HARDWALL", 0x40000: "__GFP_THISNODE",
}  # fmt: skip
_BITS: dict[str, Mapping[int, str]] = {
    ONE_WAIT: {**_COMMON, 0x10: "__GFP_WAIT", 0x80000: "__GFP_RECLAIMABLE", 0x200000: "__GFP_NOTRACK"},
    SPLIT_WAIT: {
        **_COMMON,
        0x10: "__GFP_RECLAIMABLE",
        0x80000: "__GFP_ATOMIC",
        0x100000: "__GFP_ACCOUNT",
        0x400000: "__GFP_DIRECT_RECLAIM",
        _KSWAPD_RECLAIM: "__GFP_KSWAPD_RECLAIM",
    },
}
# The composites that the kernel itself would print, the largest first.
_COMPOSITES = (
    ("GFP_HIGHUSER_MOVABLE", _MOVABLE), ("GFP_HIGHUSER", _HIGHUSER), ("GFP_USER", _USER),
    ("GFP_KERNEL", _KERNEL), ("GFP_NOFS", _NOFS), ("GFP_NOIO", _RECLAIM),
)  # fmt: skip


def generation(mask: int) -> str:
    """Of which kernels a mask without names is: every request of 4.4 and 4.5 that is not absurd may wake kswapd."""
    return SPLIT_WAIT if mask & _KSWAPD_RECLAIM else ONE_WAIT


@cache
def names_of(mask: int) -> tuple[str, ...]:
    """A mask in the words of later kernels: 0xd0 is GFP_KERNEL, 0x201da GFP_HIGHUSER_MOVABLE|__GFP_COLD; none for 0."""
    single = {name for bit, name in _BITS[generation(mask)].items() if mask & bit}
    if "__GFP_WAIT" in single:
        single = (single - {"__GFP_WAIT"}) | {"__GFP_DIRECT_RECLAIM", "__GFP_KSWAPD_RECLAIM"}
    if not single:
        return ()
    if not mask & 0x10 and generation(mask) == ONE_WAIT and "__GFP_HIGH" in single:
        return ("GFP_ATOMIC", *sorted(single - {"__GFP_HIGH"}))
    if generation(mask) == SPLIT_WAIT and "__GFP_ATOMIC" in single:
        return ("GFP_ATOMIC", *sorted(single - {"__GFP_HIGH", "__GFP_ATOMIC", "__GFP_KSWAPD_RECLAIM"}))
    for name, parts in _COMPOSITES:
        bits = {part for part in parts if part.startswith("__")} - {"__GFP_RECLAIM"}
        if bits <= single:
            return (name, *sorted(single - bits))
    return tuple(sorted(single))
