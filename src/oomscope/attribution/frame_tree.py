"""Stacks laid over each other for a flame graph: from the entry inwards, or turned round; with plumbing or without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from oomscope.attribution.frame_rules import frame_row
from oomscope.model.frame_tree import FrameTree
from oomscope.model.stack import Frame, Stack
from oomscope.numeric import np

if TYPE_CHECKING:
    import numpy.typing as npt

MOST_NODES = 1500  # a frame of less than a thousandth of the width is nothing to see
Numbers: TypeAlias = "npt.NDArray[np.int64]"


@dataclass(frozen=True, slots=True)
class FramePaths:
    """Stacks as numbers: `label[i]` is the frame at `depth[i]`, innermost 0, of the stack `row[i]`.

    A label is a function and its module; `plumbing` tells which ones never answer for memory (frames.tsv).
    """

    names: tuple[str, ...]
    modules: tuple[str | None, ...]
    plumbing: npt.NDArray[np.bool_]
    label: Numbers
    row: Numbers
    depth: Numbers
    pages: Numbers
    changes: Numbers | None


def frame_paths(held: Sequence[tuple[Stack, int]], changes: Sequence[int] | None = None) -> FramePaths:
    """The stacks with their pages, and by how much those have changed, ready to be laid over each other."""
    label_of: dict[Frame, int] = {}
    known: dict[tuple[str, str | None], int] = {}
    labels: list[int] = []
    lengths: list[int] = []
    for stack, _ in held:
        for frame in stack.frames:
            label = label_of.get(frame)
            if label is None:
                label = label_of[frame] = known.setdefault((frame.function, frame.module), len(known))
            labels.append(label)
        lengths.append(len(stack.frames))
    rows = [frame_row(function) for function, _ in known]
    length = np.array(lengths, np.int64)
    first = np.cumsum(length) - length
    return FramePaths(
        names=tuple(function for function, _ in known),
        modules=tuple(module for _, module in known),
        plumbing=np.array([row is not None and row.role != "label" for row in rows], bool),
        label=np.array(labels, np.int64),
        row=np.repeat(np.arange(len(held)), length),
        depth=np.arange(len(labels)) - np.repeat(first, length),
        pages=np.array([pages for _, pages in held], np.int64),
        changes=None if changes is None else np.array(changes, np.int64),
    )


def frame_tree(paths: FramePaths, *, from_entry: bool, fold_plumbing: bool, most_nodes: int = MOST_NODES) -> FrameTree:
    """The tree of these stacks; the `most_nodes` largest nodes are kept.

    With `fold_plumbing` frames that never answer for memory are left out.
    """
    grid = _grid(paths, from_entry=from_entry, fold_plumbing=fold_plumbing)
    order = np.lexsort(grid.T[::-1]) if grid.size else np.arange(len(grid))
    grid = grid[order]
    weights = np.stack([paths.pages, np.zeros_like(paths.pages) if paths.changes is None else paths.changes])[:, order]
    # Rows with one beginning stand together: a node is a run of them, one frame longer at each depth.
    label, parent, sums = [np.array([-1])], [np.array([-1])], [weights.sum(axis=1, keepdims=True)]
    node_of_row = np.zeros(len(grid), np.int64)
    begins = np.zeros(len(grid), bool)
    begins[:1] = True
    made = 1
    for depth in range(grid.shape[1]):
        begins[1:] |= grid[1:, depth] != grid[:-1, depth]
        starts = np.flatnonzero(begins)
        goes_on = grid[starts, depth] >= 0
        label.append(grid[starts, depth][goes_on])
        parent.append(node_of_row[starts][goes_on])
        sums.append(np.add.reduceat(weights, starts, axis=1)[:, goes_on])
        ids = np.full(len(starts), -1)
        ids[goes_on] = made + np.arange(goes_on.sum())
        node_of_row = np.repeat(ids, np.diff(starts, append=len(grid)))
        made += int(goes_on.sum())
    return _pruned(paths, np.concatenate(label), np.concatenate(parent), np.concatenate(sums, axis=1), most_nodes)


def _grid(paths: FramePaths, *, from_entry: bool, fold_plumbing: bool) -> Numbers:
    """A row for each stack, its labels from the root of the tree on, -1 behind its end."""
    label, row, depth = paths.label, paths.row, paths.depth
    if fold_plumbing:
        kept = ~paths.plumbing[label]
        lone = np.bincount(row[kept], minlength=len(paths.pages)) == 0
        kept |= lone[row] & (depth == 0)  # nothing but plumbing: its innermost frame stands for it
        label, row = label[kept], row[kept]
        length = np.bincount(row, minlength=len(paths.pages))
        depth = np.arange(len(label)) - np.repeat(np.cumsum(length) - length, length)
    length = np.bincount(row, minlength=len(paths.pages))
    grid = np.full((len(paths.pages), int(length.max(initial=0))), -1, np.int64)
    grid[row, length[row] - 1 - depth if from_entry else depth] = label
    return grid


def _pruned(paths: FramePaths, label: Numbers, parent: Numbers, sums: Numbers, most_nodes: int) -> FrameTree:
    pages, changes = sums
    # A parent has at least its child's pages and stands before it: it is kept where its child is.
    kept = np.sort(np.lexsort((np.arange(len(pages)), -pages))[:most_nodes])
    place = np.full(len(pages), -1)
    place[kept] = np.arange(len(kept))
    return FrameTree(
        names=tuple("all" if each < 0 else paths.names[each] for each in label[kept].tolist()),
        modules=tuple(None if each < 0 else paths.modules[each] for each in label[kept].tolist()),
        parents=(-1, *place[parent[kept[1:]]].tolist()),
        pages=tuple(pages[kept].tolist()),
        left_out=len(pages) - len(kept),
        changes=None if paths.changes is None else tuple(changes[kept].tolist()),
    )
