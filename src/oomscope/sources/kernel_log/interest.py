"""Which lines of a stretch may begin something: found in one go, by four letters of each word that such a line has.

What stands in the table below is looked for at every byte at once; only lines where letters stand are asked for the
pattern itself.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from oomscope.sources.kernel_log.report.beginnings import MAY_BEGIN

OF_INTEREST = re.compile(MAY_BEGIN.pattern + rb"|OOM: |Linux version |\"MESSAGE\" ?: ?\[")
# Four letters of each alternative of the pattern, or as many as it takes: tests hold the one against the other.
_LETTERS = (
    *(b"nvok", b"om-k", b"ge a", b"n fa", b"-ord", b"vmal", b"map ", b"vmem", b"Mem-", b"non:", b"sysr", b"sysR"),
    *(b"Sysr", b"SysR", b"ut o", b"l pa", b"Task", b"usag", b"pid ", b"pid]", b"Kill", b"ryki", b"rlyo", b"oomd"),
    *(b"ohan", b"im '", b"VM: ", b"ory!", b"o pr", b"g pr", b"vict", b"y cg", b"_rea", b"SLUB", b"_all", b"PFNs"),
    *(b"Unre", b"_of_", b"oom_", b"dump", b"ile:", b"ble:", b"slab", b"ped:", b"les:", b"nce:", b"ree:", b"pcp:"),
    *(b"rty:", b"ack:", b"mem:", b"cma:", b"wmem", b"huge", b".oom", b"ive:", b"ages", b"omm:", b"epla", b"OOM:"),
    *(b"ux v", b"MESS", b"emcg"),
)
# What has no four letters of its own.
_OTHERS = re.compile(rb"CMA|\*\d|KB {1,60}\d|\] +\d{1,10} +\d{1,9} +\d{1,18} ")
_LINE_END = 10
_FACTOR = np.uint32(2654435761)  # Knuth's, so that the upper half of a product depends on all four letters
_HALF = np.uint32(16)


def _places(words: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    return (words * _FACTOR) >> _HALF


_MAY_BE = np.zeros(1 << 16, np.bool_)
_MAY_BE[_places(np.frombuffer(b"".join(_LETTERS), np.uint32))] = True


def lines_of_interest(stretch: bytes) -> frozenset[int]:
    """The lines of a stretch, counted from 0, that the pattern is found in."""
    letters = np.frombuffer(stretch, np.uint8)
    at = [match.start() for match in _OTHERS.finditer(stretch)]
    if len(letters) >= 4:
        words = letters[:-3].astype(np.uint32)
        for place in (1, 2, 3):
            words |= letters[place : len(letters) - 3 + place].astype(np.uint32) << np.uint32(8 * place)
        at += np.flatnonzero(_MAY_BE[_places(words)]).tolist()
    if not at:
        return frozenset()
    ends = np.flatnonzero(letters == _LINE_END)
    found = []
    for line in np.unique(np.searchsorted(ends, np.array(at))).tolist():
        start = int(ends[line - 1]) + 1 if line else 0
        end = int(ends[line]) if line < len(ends) else len(stretch)
        if OF_INTEREST.search(stretch, start, end) is not None:
            found.append(line)
    return frozenset(found)
