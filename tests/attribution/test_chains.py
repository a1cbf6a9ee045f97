"""Two hundred chains that strangers published (tests/data/chains.tsv), against a reader who had not seen the table.

`chain` has the frames innermost first, `expected` whom a developer should look at, several where they are as right.
"""

from __future__ import annotations

import csv

from oomscope.attribution.culprit import attribute
from oomscope.model.holding import PAGE_CACHE, USER
from oomscope.model.stack import Stack, parse_frame
from tests.support import captures

RIGHT_AT_LEAST = 0.97
_KINDS = {USER: "USER", PAGE_CACHE: "PAGECACHE"}
# Still wrong, and why: anything else that goes wrong is new.
KNOWN = {
    "github.com/IRATI/stack/issues/1362": "a wrapper of kmalloc() that only this module has",
    "linux-mm list, cma_alloc hugetlb BUG": "the pool of huge pages is said to hold it, not who set its size",
    "rockchip list, rk_iommu_zap vb2_dc_alloc": "the warning's own frame, four calls within the allocation",
    "linux Documentation/mm/page_owner.rst zh_CN translation": "one of the dozens of parts of a network namespace, "
    "which answer together to who makes namespaces: a leak of those would be in none of them",
    "xen-devel list, decrease_reservation warning gntdev": "the same",
}


def _stack(chain: str) -> Stack:
    frames = []
    for text in chain.split(" < "):
        function, _, module = text.partition(" ")
        frame = parse_frame(f"{function}+0x1/0x2 {module}".rstrip())
        assert frame is not None, text
        frames.append(frame)
    return Stack(tuple(frames))


def test_strangers_chains_get_the_culprit_that_a_reader_names() -> None:
    """At least 97 of 100, and what is wrong stands in the list."""
    with (captures.DATA / "chains.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert len(rows) == 200
    wrong = {}
    for row in rows:
        attributed = attribute(_stack(row["chain"]))
        named = _KINDS.get(attributed.kind) or (attributed.culprit.function if attributed.culprit else attributed.kind)
        expected = {name.partition(".isra")[0] for name in row["expected"].split("|")}
        if named not in expected and f".{named}" not in expected:
            wrong[row["source"]] = named
    assert wrong.keys() == KNOWN.keys(), wrong
    assert len(wrong) <= (1 - RIGHT_AT_LEAST) * len(rows)
