"""What the pictures of a page show, as plain values for page.js: colours and sizes are the script's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oomscope.model.oom_analysis import ANON, FREE
from oomscope.report.cells import page_bytes_of
from oomscope.units import AT_ONE_MOMENT, uptime_text

if TYPE_CHECKING:
    from oomscope.model.balance import Balance
    from oomscope.model.frame_tree import FrameTree
    from oomscope.model.verdict import Verdict

# The views of the flame graph: from the entry inwards or turned round, with plumbing frames or without.
FLAME_VIEWS = {
    "inwards": {"from_entry": True, "fold_plumbing": False},
    "inwards folded": {"from_entry": True, "fold_plumbing": True},
    "turned": {"from_entry": False, "fold_plumbing": False},
    "turned folded": {"from_entry": False, "fold_plumbing": True},
}
# Of a difference: all stacks as they are now, coloured by their change; what grew; what shrank.
CHANGED, GROWN, SHRUNK = "changed", "grown", "shrunk"
_CULPRITS_OVER_TIME = 8
_WORTH_A_TIMELINE = 3  # events
_NAMED = 20  # processes within anonymous memory


def of_verdict(verdict: Verdict, trees: dict[str, FrameTree]) -> dict[str, Any]:
    """The pictures that this verdict has; a key is missing where there is nothing to draw."""
    pictures: dict[str, Any] = {}
    if verdict.balance is not None and verdict.balance.is_consistent:
        pictures["balance"] = _balance(verdict, verdict.balance)
    if verdict.consumers:
        pictures["flame"] = {name: _tree(tree) for name, tree in trees.items()}
    if growth := _growth(verdict):
        pictures["growth"] = growth
    if moments := _moments(verdict):
        pictures["moments"] = moments
    if free := _free(verdict):
        pictures["free"] = free
    if events := _events(verdict):
        pictures["events"] = events
    return pictures


def _events(verdict: Verdict) -> dict[str, Any] | None:
    """The events of a log over time, by class: seconds since boot where every event has them, else their order."""
    told = verdict.events
    if len(told) < _WORTH_A_TIMELINE:
        return None
    has_times = all(event.at_ns is not None for event in told)
    return {
        "axis": "seconds since boot" if has_times else "events in the order of the log",
        "x": [(event.at_ns or 0) / 1e9 if has_times else event.number for event in told],
        "classes": [event.oom_class for event in told],
        "texts": [f"{event.number}. {event.stamp or ''} {event.text}".strip() for event in told],
        "chosen": None if verdict.oom is None else verdict.oom.number,
        "numbers": [event.number for event in told],
    }


def of_difference(trees: dict[str, FrameTree]) -> dict[str, Any]:
    """All stacks coloured by their change, what grew and what shrank, each as a flame graph."""
    flame = {name: _tree(tree) for name, tree in trees.items() if tree.pages[0]}
    return {"flame": flame} if flame else {}


def _tree(tree: FrameTree) -> dict[str, Any]:
    return {
        "names": list(tree.names),
        "modules": list(tree.modules),
        "parents": list(tree.parents),
        "pages": list(tree.pages),
        "leftOut": tree.left_out,
        "changes": None if tree.changes is None else list(tree.changes),
    }


def _balance(verdict: Verdict, balance: Balance) -> dict[str, Any]:
    """Rows below RAM, and their parts below them; the unexplained remainder is a row like the others, marked."""
    rows = [
        (
            row.kind,
            row.pages,
            _process_names(verdict, row.pages) if row.kind == ANON and not row.parts else row.parts,
            "free" if row.kind == FREE else "",
        )
        for row in balance.rows
    ]
    rows.append(("unexplained", balance.unexplained_pages, balance.unexplained_parts, "unexplained"))
    return {
        "ram": balance.ram_pages,
        "page_bytes": page_bytes_of(verdict),
        "rows": [
            {"kind": kind, "pages": pages, "mark": mark, "parts": _within(parts, pages)}
            for kind, pages, parts, mark in rows
            if pages > 0
        ],
    }


def _process_names(verdict: Verdict, anon_pages: int) -> tuple[tuple[str, int], ...]:
    """Anonymous memory by the names of its processes, where the task table tells it and it is a part of the whole."""
    analysis = None if verdict.oom is None else verdict.oom.analysis
    groups = () if analysis is None else analysis.process_groups
    if sum(group.pages for group in groups) > anon_pages * AT_ONE_MOMENT:
        return ()
    return tuple((group.comm, group.pages) for group in groups[:_NAMED])


def _within(parts: tuple[tuple[str, int], ...], pages: int) -> list[dict[str, Any]]:
    """The parts as far as they fit into their row: they may be of another moment."""
    kept, room = [], pages
    for name, amount in parts:
        if 0 < amount <= room:
            kept.append({"name": name, "pages": amount})
            room -= amount
    return kept


def _growth(verdict: Verdict) -> dict[str, Any] | None:
    told = [row for row in verdict.culprits if row.held_since is not None][:_CULPRITS_OVER_TIME]
    if not told or told[0].held_since is None:
        return None
    return {
        "bin_s": told[0].held_since.bin_ns / 1e9,
        "culprits": [
            {"name": str(row.culprit), "pages": list(row.held_since.pages)}
            for row in told
            if row.held_since is not None
        ],
        "until": None if verdict.at_ns is None else uptime_text(verdict.at_ns),
    }


def _moments(verdict: Verdict) -> dict[str, Any] | None:
    """The greatest culprits at the moment before and at this one."""
    told = [row for row in verdict.culprits if row.earlier_pages is not None][:_CULPRITS_OVER_TIME]
    if not told:
        return None
    return {
        "names": [str(row.culprit) for row in told],
        "before": [row.earlier_pages for row in told],
        "now": [row.pages for row in told],
    }


def _free(verdict: Verdict) -> dict[str, Any] | None:
    """Free pages by order for each zone (and type), against the order of the request that failed."""
    analysis = None if verdict.oom is None else verdict.oom.analysis
    rows: list[dict[str, Any]] = []
    if analysis is not None and analysis.page_bytes is not None:
        page_kib = analysis.page_bytes // 1024
        for zone in analysis.event.zones:
            counts = {(b.size_kib // page_kib).bit_length() - 1: b.count for b in zone.blocks or () if b.size_kib}
            if counts:
                pages = [counts.get(order, 0) << order for order in range(max(counts) + 1)]
                rows.append({"zone": zone.title, "pages": pages})
    if not rows:
        rows = [
            {
                "zone": f"Node {z.node} {z.zone}" + ("" if z.migrate_type is None else f", {z.migrate_type}"),
                "pages": [count << order for order, count in enumerate(z.counts)],
            }
            for z in verdict.free_blocks
            if z.pages
        ]
    if not rows:
        return None
    return {"rows": rows, "order": None if analysis is None else analysis.request.order}
