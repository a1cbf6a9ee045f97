"""The crash kernel's reader decides who answers for a stack as the engine does."""

from __future__ import annotations

import json
from collections.abc import Iterable

import oomscope
from oomscope.attribution.culprit import attribute, is_allocator
from oomscope.attribution.frame_rules import frame_rows
from oomscope.crash_reader.culprits import Culprits, function_of
from oomscope.crash_reader.plan import FORMAT, CrashPlan
from oomscope.model.stack import Stack, parse_frame
from tests.support.captures import DATA


def culprits() -> Culprits:
    rows = [(row.role, row.kind, row.pattern, is_allocator(row)) for row in frame_rows()]
    told = {"format": FORMAT, "release": "6.12", "machine": "x86_64", "symbols": {}, "layout": {}, "constants": {}}
    return Culprits(CrashPlan(json.loads(json.dumps({**told, "handle": [], "counters": {}, "roles": rows}))))


def stacks() -> Iterable[Stack]:
    """All stacks of the captures, and each without its innermost frames, which no kernel has but a table must stand."""
    found = {
        stack
        for path in sorted(DATA.rglob("page_owner*.zst"))
        for stack in oomscope.read(path).latest.counts.stacks
        if stack.frames
    }
    return {Stack(stack.frames[first:]) for stack in found for first in range(min(4, len(stack.frames)))}


def test_every_stack_has_the_engines_culprit() -> None:
    """Over all stacks of the captures, whole and cut; but for bare addresses, which are no answer here."""
    ours, seen = culprits(), list(stacks())
    assert len(seen) > 1000
    for stack in seen:
        theirs = attribute(stack).culprit
        is_named = theirs is not None and not theirs.function.startswith("0x")
        assert ours.of(list(stack.texts)) == (str(theirs) if is_named else None), stack.texts


def test_a_function_is_named_as_the_engine_names_it() -> None:
    """Without what a compiler appends to its clones, and without _noprof."""
    for text in (
        "__alloc_pages_slowpath.constprop.0+0x163/0xe40",
        "alloc_pages_mpol_noprof+0x8b/0x1d0",
        "copy_process.part.0.isra.2+0x1/0x2 [some module]",
        "name.with.dots+0x1/0x2",
        ".dotted_on_power+0x1/0x2",
        "take.cold+0x1/0x2 [m]",
        "llvm.llvm.1234+0x1/0x2",
    ):
        frame = parse_frame(text)
        assert frame is None or function_of(text) == frame.function
