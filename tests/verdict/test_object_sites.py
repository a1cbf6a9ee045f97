"""Who grew a slab cache may not hold its objects: allocation profiling's call sites decide."""

from __future__ import annotations

from pathlib import Path

import oomscope
from tests.support.transcriptions import linux_6_12
from tests.verdict.test_rules import SLAB, held_by

_PAGES = 5000
_MEMINFO = "MemTotal:          40000 kB\nMemFree:           10000 kB\nDirectMap4k: 4 kB\nDirectMap2M: 4 kB\n"
_SITES = """\
allocinfo - version: 1.0
#     <size>  <calls> <tag info>
{own:12d}    39168 m.c:20 [m] func:leaky
{other:12d}      900 net/core/skbuff.c:600 func:__alloc_skb
    20480000     5000 mm/slub.c:2264 func:alloc_slab_page
"""


def claims(folder: Path, own_percent: int, other_percent: int) -> dict[str, str]:
    """What is said where a module's function grew slabs of 5,000 pages, and profiling counts these shares of them."""
    (folder / "page_owner").write_bytes(linux_6_12(held_by(*SLAB, "leaky+0x1/0x2 [m]")) * _PAGES)
    (folder / "meminfo").write_text(_MEMINFO)
    size = _PAGES * 4096 // 100
    (folder / "allocinfo").write_text(_SITES.format(own=own_percent * size, other=other_percent * size))
    return {finding.claim: finding.certainty for finding in oomscope.explain(folder).findings}


def test_call_sites_confirm_who_grew_the_cache(tmp_path: Path) -> None:
    """Objects for nearly all of the slabs' bytes at the culprit's own sites: certain."""
    found = {claim: sure for claim, sure in claims(tmp_path, 95, 1).items() if "holds what it grew" in claim}
    assert list(found.values()) == ["certain"]


def test_call_sites_name_another_holder(tmp_path: Path) -> None:
    """Next to nothing at the culprit's own sites: the largest other one is named, as likely."""
    found = {claim: sure for claim, sure in claims(tmp_path, 2, 90).items() if "grew the slabs and" in claim}
    assert list(found.values()) == ["likely"]
    assert "the call site that holds most is __alloc_skb" in next(iter(found))


def test_page_stacks_alone_stay_likely(tmp_path: Path) -> None:
    """Without objects on record nobody is certain to hold a slab."""
    claims(tmp_path, 95, 1)
    (tmp_path / "allocinfo").unlink()
    assert {finding.certainty for finding in oomscope.explain(tmp_path).findings} == {"likely"}
