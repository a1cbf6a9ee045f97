"""Which lines of a stretch may begin something: found in one go, by four letters of each word that such a line has.

What stands in the table below is looked for at every byte at once; only lines where letters stand are asked for the
pattern itself.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from oomscope.numeric import is_worth_loading, np
from oomscope.sources.kernel_log.report.beginnings import MAY_BEGIN_WORDS
from oomscope.text import either

if TYPE_CHECKING:
    import numpy.typing as npt

OF_INTEREST = either(*MAY_BEGIN_WORDS, rb"OOM: ", rb"Linux version ", rb"\"MESSAGE\" ?: ?\[")
# Four letters of each alternative of the pattern, or as many as it takes: tests hold the one against the other.
_LETTERS = (
    *(b"nvok", b"om-k", b"ge a", b"n fa", b"-ord", b"vmal", b"map ", b"vmem", b"Mem-", b"non:", b"sysr", b"sysR"),
    *(b"Sysr", b"SysR", b"ut o", b"l pa", b"Task", b"usag", b"pid ", b"pid]", b"Kill", b"ryki", b"rlyo", b"oomd"),
    *(b"ohan", b"im '", b"VM: ", b"ory!", b"o pr", b"g pr", b"vict", b"y cg", b"_rea", b"SLUB", b"_all", b"PFNs"),
    *(b"Unre", b"_of_", b"oom_", b"dump", b"ile:", b"ble:", b"slab", b"ped:", b"les:", b"nce:", b"ree:", b"pcp:"),
    *(b"rty:", b"ack:", b"mem:", b"cma:", b"wmem", b"huge", b".oom", b"ive:", b"ages", b"omm:", b"epla", b"OOM:"),
    *(b"ux v", b"MESS", b"emcg", b"race", b"y al"),
)
_LINE_END = 10
_FACTOR = 2654435761  # Knuth's, so that the upper half of a product depends on all four letters


def _places(words: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    return (words * np.uint32(_FACTOR)) >> np.uint32(16)


@cache
def _may_be() -> npt.NDArray[np.bool_]:
    """Whether four letters of the table have this place."""
    found = np.zeros(1 << 16, np.bool_)
    found[_places(np.frombuffer(b"".join(_LETTERS), np.uint32))] = True
    return found


# Letters stand that far behind the beginning of what the pattern finds, or less.
_REACH_BYTES = 32


def _letters_at(letters: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.intp]]:
    """Where four letters of the table stand: four views of the bytes as words of four, each begun a byte later."""
    found, may_be = [], _may_be()
    for start in range(min(4, max(len(letters) - 3, 0))):
        words = letters[start : start + (len(letters) - start) // 4 * 4].view(np.uint32)
        found.append(np.flatnonzero(may_be[_places(words)]) * 4 + start)
    return found


def _others_at(letters: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.intp]]:
    """Where what has no four letters of its own may stand: `CMA`, `2*4kB`, `KB  123KB`, `[  123]  0  123  4567`."""
    first, second, third, fourth = letters[:-3], letters[1:-2], letters[2:-1], letters[3:]
    is_blank, is_digit = third == ord(" "), third - np.uint8(ord("0")) < 10
    # A frame stands behind a blank, too: a number begins at once, or behind several.
    is_number = is_digit | (is_blank & ((fourth == ord(" ")) | (fourth - np.uint8(ord("0")) < 10)))
    return [
        np.flatnonzero((first == ord("C")) & (second == ord("M")) & (third == ord("A"))),
        np.flatnonzero((second == ord("*")) & is_digit),
        np.flatnonzero((first == ord("K")) & (second == ord("B")) & is_blank),
        np.flatnonzero((first == ord("]")) & (second == ord(" ")) & is_number),
    ]


def lines_of_interest(stretch: bytes) -> list[int]:
    """The lines of a stretch, counted from 0 and in their order, that the pattern is found in."""
    if not is_worth_loading(len(stretch)):
        return [at for at, line in enumerate(stretch.split(b"\n")) if OF_INTEREST.search(line) is not None]
    letters = np.frombuffer(stretch + b"\0\0\0", np.uint8)  # so that the last line's end has neighbours, too
    at = np.concatenate([*_letters_at(letters), *_others_at(letters)])
    at.sort()
    ends = np.flatnonzero(letters == _LINE_END)
    of_lines = np.searchsorted(ends, at)
    lines, firsts = np.unique(of_lines, return_index=True)
    found = []
    for line, first in zip(lines.tolist(), at[firsts].tolist(), strict=True):
        start = int(ends[line - 1]) + 1 if line else 0
        end = int(ends[line]) if line < len(ends) else len(stretch)
        if OF_INTEREST.search(stretch, max(start, first - _REACH_BYTES), end) is not None:
            found.append(line)
    return found
