"""Flame graph trees against a slow loop over the stacks."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import oomscope
from oomscope.attribution.frame_rules import frame_row
from oomscope.attribution.frame_tree import frame_paths, frame_tree
from oomscope.model.frame_tree import FrameTree
from oomscope.model.stack import Frame, Stack
from tests.support import captures
from tests.support.draws import draws

WAYS = [(True, False), (True, True), (False, False), (False, True)]
FRAMES = [
    Frame(f"{name}+0x1/0x2", name, 1, 2) for name in ("post_alloc_hook", "__alloc_pages", "a", "b", "c", "ksys_write")
]
FRAMES.append(replace(FRAMES[2], module="m"))
HELD = st.lists(
    st.tuples(
        st.lists(st.sampled_from(FRAMES), max_size=6).map(lambda frames: Stack(tuple(frames))), st.integers(1, 99)
    ),
    max_size=40,
)


def by_path(tree: FrameTree) -> dict[tuple[str, ...], int]:
    """Pages of each node by its path from the root."""
    found: dict[tuple[str, ...], int] = {}
    paths: list[tuple[str, ...]] = []
    for name, module, parent, pages in zip(tree.names, tree.modules, tree.parents, tree.pages, strict=True):
        paths.append(() if parent < 0 else (*paths[parent], f"{name} {module}"))
        found[paths[-1]] = pages
    return found


def slowly(held: list[tuple[Stack, int]], *, from_entry: bool, fold_plumbing: bool) -> dict[tuple[str, ...], int]:
    """The same, stack by stack and frame by frame."""
    found: Counter[tuple[str, ...]] = Counter({(): 0})
    for stack, pages in held:
        frames = list(stack.frames)
        if fold_plumbing:
            frames = [f for f in frames if (row := frame_row(f.function)) is None or row.role == "label"] or frames[:1]
        names = [f"{frame.function} {frame.module}" for frame in frames]
        for length in range(len(names) + 1):
            found[tuple((names[::-1] if from_entry else names)[:length])] += pages
    return dict(found)


@pytest.mark.parametrize(("from_entry", "fold_plumbing"), WAYS)
@given(held=HELD)
@draws(150)
def test_a_tree_is_what_a_loop_adds_up(from_entry: bool, fold_plumbing: bool, held: list[tuple[Stack, int]]) -> None:
    """Every node and its pages, whatever the stacks: empty ones, equal ones, one the beginning of another."""
    tree = frame_tree(frame_paths(held), from_entry=from_entry, fold_plumbing=fold_plumbing)
    assert by_path(tree) == slowly(held, from_entry=from_entry, fold_plumbing=fold_plumbing)
    assert tree.left_out == 0


@pytest.mark.parametrize(("from_entry", "fold_plumbing"), WAYS)
def test_changes_are_added_up_like_pages(from_entry: bool, fold_plumbing: bool) -> None:
    """With a change beside each stack's pages, every node has the sum of its stacks' changes."""
    held = [(consumer.holding.stack, consumer.pages) for consumer in oomscope.explain(captures.AFTER_6_12).consumers]
    changes = [(-1) ** index * index for index in range(len(held))]
    tree = frame_tree(
        frame_paths(held, changes), from_entry=from_entry, fold_plumbing=fold_plumbing, most_nodes=1 << 20
    )
    by_change = [(stack, change) for (stack, _), change in zip(held, changes, strict=True)]
    assert tree.changes is not None
    assert by_path(replace(tree, pages=tree.changes)) == slowly(
        by_change, from_entry=from_entry, fold_plumbing=fold_plumbing
    )


@pytest.mark.parametrize(("from_entry", "fold_plumbing"), WAYS)
def test_the_largest_nodes_are_kept(from_entry: bool, fold_plumbing: bool) -> None:
    """Of a real dump: a hundred nodes, no smaller than any that is left out, each with its parent."""
    held = [(consumer.holding.stack, consumer.pages) for consumer in oomscope.explain(captures.AFTER_6_12).consumers]
    whole = slowly(held, from_entry=from_entry, fold_plumbing=fold_plumbing)
    tree = frame_tree(frame_paths(held), from_entry=from_entry, fold_plumbing=fold_plumbing, most_nodes=100)
    kept = by_path(tree)
    assert len(kept) == 100
    assert tree.left_out == len(whole) - 100
    assert all(whole[path] == pages for path, pages in kept.items())
    assert min(kept.values()) >= max(pages for path, pages in whole.items() if path not in kept)
