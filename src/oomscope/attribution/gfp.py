"""What a gfp flag's name stands for: the kernel prints composites where it can (include/linux/gfp_types.h)."""

from __future__ import annotations

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
