"""The kernel's own accounts for people: a table for each file, and free memory by the size of its blocks."""

from __future__ import annotations

from rich.console import Console

from oomscope.model.account import BYTES, GRAPHICS, KINDS, MODULE, Account
from oomscope.model.free_area import FreeArea
from oomscope.model.verdict import Verdict
from oomscope.report.tables import show, table, title
from oomscope.units import bytes_text, pages_text

_BESIDE_STACKS = 5  # rows where stacks or a report give the answer
_PAGEBLOCK = 9
_ROWS_OF_A_MACHINE, _USUAL_ROWS = 40, 10


def accounts(console: Console, verdict: Verdict, top: int) -> None:
    """Every account and the free blocks; beside an answer from elsewhere the largest rows only, and no modules."""
    alone = verdict.greatest is None and verdict.oom is None
    for told in verdict.accounts:
        if alone or told.kind != MODULE:
            _ledger(console, told, top if alone else min(top, _BESIDE_STACKS))
    for cache in verdict.cache_objects[: top if alone else 0]:
        name = cache.cache or "a cache without a name"
        title(console, f"Objects of {name}: {cache.objects:,} in use, by {cache.by}")
        rows = table(("objects", True), ("allocated from", False))
        for stack, count in cache.owners[:top]:
            rows.add_row(f"{count:,}", stack.texts[0] if stack.texts else "no stack")
        show(console, rows)
    if verdict.free_blocks and (alone or verdict.oom is None):
        _free_blocks(console, verdict.free_blocks, top)


def _ledger(console: Console, told: Account, top: int) -> None:
    total = bytes_text(told.total) if told.unit == BYTES else pages_text(told.total)
    in_all = "" if told.kind == GRAPHICS else f" ({total} in all)"  # a row of it is the whole already
    title(console, f"{KINDS[told.kind]}: {min(top, len(told.entries))} of {len(told.entries):,}{in_all}")
    has_place = any(entry.place for entry in told.entries[:top])
    rows = table((told.unit, True), (told.counted, True), (told.kind, False), *((("", False),) if has_place else ()))
    for entry in told.entries[:top]:
        amount = bytes_text(entry.amount) if told.unit == BYTES else f"{entry.amount:,}"
        rows.add_row(amount, f"{entry.count:,}", str(entry), *((entry.place,) if has_place else ()))
    show(console, rows)


def _free_blocks(console: Console, zones: tuple[FreeArea, ...], top: int) -> None:
    """The zones that have most free, in the file's order; rows of a machine's few zones and types fit as they are."""
    most = max(top, _ROWS_OF_A_MACHINE if top >= _USUAL_ROWS else 0)
    held = [zone for zone in zones if zone.pages]
    largest = {id(zone) for zone in sorted(held, key=lambda zone: -zone.pages)[:most]}
    of = f": {len(largest):,} of {len(held):,}" if len(held) > len(largest) else ""
    title(console, f"Free memory, by the size of its blocks{of}")
    rows = table(
        ("free pages", True),
        ("in order 3+", True),
        (f"in order {_PAGEBLOCK}+", True),
        ("largest", True),
        ("zone", False),
    )
    for zone in held:
        if id(zone) in largest:
            name = f"Node {zone.node} {zone.zone}" + ("" if zone.migrate_type is None else f", {zone.migrate_type}")
            large, huge = zone.pages_from(3), zone.pages_from(_PAGEBLOCK)
            rows.add_row(f"{zone.pages:,}", f"{large:,}", f"{huge:,}", f"order {zone.largest_order}", name)
    show(console, rows)
