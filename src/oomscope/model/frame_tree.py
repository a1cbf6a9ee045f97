"""Stacks laid over each other, frame by frame: what a flame graph shows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FrameTree:
    """Nodes in an order in which parents stand before their children; the first is the root, whose parent is -1.

    `pages` of a node are those of all stacks that pass through it. `left_out` nodes were too small to keep: their pages
    are in their parents'. `changes` tell by how much a node's pages have changed, where there are two moments.
    """

    names: tuple[str, ...]
    modules: tuple[str | None, ...]
    parents: tuple[int, ...]
    pages: tuple[int, ...]
    left_out: int
    changes: tuple[int, ...] | None = None
