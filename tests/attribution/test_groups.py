from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import oomscope
from oomscope.attribution.culprit import attribute
from oomscope.attribution.groups import PROPERTIES, SORTS
from oomscope.model.stack import Stack, parse_frame
from oomscope.verdict import Question
from tests.support import brute_force, captures

SEEN = brute_force.records(captures.text(captures.AFTER_6_1))


def _stack(seen: brute_force.Seen) -> Stack:
    frames = [parse_frame(text) for text in seen.frames]
    return Stack(tuple(frame for frame in frames if frame is not None))


def _module(seen: brute_force.Seen) -> str | None:
    culprit = attribute(_stack(seen)).culprit
    return None if culprit is None else culprit.module or "vmlinux"


NAMES: dict[str, Callable[[brute_force.Seen], object]] = {
    "culprit": lambda s: attribute(_stack(s)).culprit or "(none answers)",
    "module": lambda s: _module(s) or "(none answers)",
    "kind": lambda s: attribute(_stack(s)).kind,
    "comm": lambda s: s.comm,
    "pid": lambda s: s.pid,
    "tgid": lambda s: s.tgid,
    "gfp": lambda s: f"{s.gfp_mask:#x}({s.gfp_flags})",
    "order": lambda s: s.order,
    "node": lambda s: s.node,
    "zone": lambda s: f"node {s.node} zone {s.zone}",
    "memcg": lambda s: s.memcg or "(not charged)",
}


@pytest.mark.parametrize("by", NAMES)
def test_groups_equal_a_slow_count(by: str) -> None:
    """Pages, blocks, stacks and times of every group of a real dump are what a loop over its records finds."""
    groups = oomscope.explain(captures.AFTER_6_1, question=Question(by=by)).groups
    members: dict[str, list[brute_force.Seen]] = {}
    for seen in SEEN:
        members.setdefault(str(NAMES[by](seen)), []).append(seen)
    assert {g.name for g in groups} == set(members)
    for g in groups:
        group = members[g.name]
        assert g.pages == sum(s.pages for s in group)
        assert g.blocks == len(group)
        assert g.stacks == len({s.frames for s in group})
        times = [s.ts_ns for s in group if s.ts_ns is not None]
        assert (g.first_ns, g.last_ns) == (min(times), max(times))


def test_by_stack_has_a_row_per_stack() -> None:
    """Grouping by stack keeps every stack apart and whole."""
    groups = oomscope.explain(captures.AFTER_6_1, question=Question(by="stack")).groups
    expected = brute_force.sums(SEEN)
    assert {g.holding.stack.texts: g.pages for g in groups if g.holding is not None} == expected


@pytest.mark.parametrize("sort", SORTS)
def test_sorts(sort: str) -> None:
    """Groups come by pages or blocks from the top, by first allocation from the oldest, or by name."""
    groups = oomscope.explain(captures.AFTER_6_1, question=Question(by="comm", sort=sort)).groups
    keys: dict[str, list[Any]] = {
        "pages": [-(g.pages or 0) for g in groups],
        "blocks": [-(g.blocks or 0) for g in groups],
        "age": [g.first_ns or 0 for g in groups],
        "name": [g.name for g in groups],
    }
    assert keys[sort] == sorted(keys[sort])
    assert len(groups) > 5


def test_small_groups_are_left_out() -> None:
    """--min-pages leaves out groups and consumers below it."""
    verdict = oomscope.explain(captures.AFTER_6_1, question=Question(by="comm", min_pages=100))
    assert verdict.groups
    assert all((g.pages or 0) >= 100 for g in verdict.groups)
    assert all(c.pages >= 100 for c in verdict.consumers)


@pytest.mark.parametrize("by", ["kind", "module", "culprit", "comm"])
def test_a_lower_bound_does_not_change_the_sums(by: str) -> None:
    """--min-pages leaves groups out; the ones that stay are whole, over however small stacks."""
    whole = oomscope.explain(captures.AFTER_6_12, question=Question(by=by)).groups
    bounded = oomscope.explain(captures.AFTER_6_12, question=Question(by=by, min_pages=256)).groups
    assert bounded == tuple(group for group in whole if (group.pages or 0) >= 256)


def test_what_show_stacks_does_not_tell_is_said() -> None:
    """Grouping show_stacks by pid is refused in one sentence, not answered with nothing."""
    with pytest.raises(oomscope.NothingToExplain, match="--by pid: this evidence does not tell it"):
        oomscope.explain(captures.SHOW_STACKS, question=Question(by="pid"))


def test_groupings_that_do_not_exist() -> None:
    """An unknown property or sort is a bad question."""
    with pytest.raises(oomscope.BadQuestion, match="--by colour"):
        oomscope.explain(captures.SHOW_STACKS, question=Question(by="colour"))
    with pytest.raises(oomscope.BadQuestion, match="--sort colour"):
        oomscope.explain(captures.SHOW_STACKS, question=Question(by="kind", sort="colour"))
    assert set(PROPERTIES) == {*NAMES, "stack"}


FILTERS: dict[str, tuple[oomscope.Selection, Callable[[brute_force.Seen], bool]]] = {
    "pid": (oomscope.Selection(pids=frozenset({1, 2})), lambda s: s.pid in (1, 2)),
    "tgid": (oomscope.Selection(tgids=frozenset({48})), lambda s: s.tgid == 48),
    "comm": (oomscope.Selection(comms=frozenset({"kthreadd"})), lambda s: s.comm == "kthreadd"),
    "module": (oomscope.Selection(modules=frozenset({"leak"})), lambda s: _module(s) == "leak"),
    "built in": (oomscope.Selection(modules=frozenset({"vmlinux"})), lambda s: _module(s) == "vmlinux"),
    "gfp": (
        oomscope.Selection(gfp_flags=frozenset({"__GFP_NOWARN", "__GFP_COMP"})),
        lambda s: {"__GFP_NOWARN", "__GFP_COMP"} <= set(s.gfp_flags.split("|")),
    ),
    "gfp mask": (oomscope.Selection(gfp_flags=frozenset({"0xcc0"})), lambda s: s.gfp_mask == 0xCC0),
    "order": (oomscope.Selection(orders=frozenset({1, 3})), lambda s: s.order in (1, 3)),
    "node": (oomscope.Selection(nodes=frozenset({0})), lambda s: s.node == 0),
    "kind": (oomscope.Selection(kinds=frozenset({"slab"})), lambda s: attribute(_stack(s)).kind == "slab"),
    "since": (oomscope.Selection(since_ns=10**9), lambda s: (s.ts_ns or 0) >= 10**9),
    "until": (oomscope.Selection(until_ns=10**9), lambda s: (s.ts_ns or 0) <= 10**9),
    "all together": (
        oomscope.Selection(pids=frozenset({1}), orders=frozenset({0}), kinds=frozenset({"slab"}), since_ns=7 * 10**8),
        lambda s: s.pid == 1 and s.order == 0 and attribute(_stack(s)).kind == "slab" and (s.ts_ns or 0) >= 7 * 10**8,
    ),
}


@pytest.mark.parametrize("name", FILTERS)
def test_filters_equal_a_slow_count(name: str) -> None:
    """Each filter, and several together, leave over what a loop over the records leaves over."""
    selection, keeps = FILTERS[name]
    verdict = oomscope.explain(captures.AFTER_6_1, selection=selection)
    kept = [s for s in SEEN if keeps(s)]
    assert kept
    assert verdict.counted_pages == sum(s.pages for s in kept)
    assert verdict.counted_stacks == len({s.frames for s in kept})
    assert verdict.balance is None


def test_filters_that_leave_nothing() -> None:
    """A filter that no record passes ends in one sentence."""
    with pytest.raises(oomscope.NothingToExplain, match="no page is left after the filters"):
        oomscope.explain(captures.AFTER_6_1, selection=oomscope.Selection(pids=frozenset({999_999})))


@pytest.mark.parametrize("name", ["pid", "comm", "gfp", "order", "node", "since"])
def test_evidence_that_does_not_tell_what_a_filter_asks_is_not_counted(name: str) -> None:
    """show_stacks has no pid, gfp, order, node or time: such a filter leaves nothing of it, and says why."""
    with pytest.raises(oomscope.NothingToExplain, match="no page is left") as caught:
        oomscope.explain(captures.SHOW_STACKS, selection=FILTERS[name][0])
    assert "page_owner_stacks does not tell" in caught.value.advice
