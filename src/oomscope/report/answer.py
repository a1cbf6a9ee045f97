"""The answer in one sentence: who holds most, and how much. Every report for people begins with it."""

from __future__ import annotations

from dataclasses import dataclass

from oomscope.model.holding import HUGETLB, PAGE_CACHE, SLAB, USER, Holding
from oomscope.model.verdict import Consumer, CulpritRow, Verdict
from oomscope.units import bytes_text, pages_text, share_text


@dataclass(frozen=True, slots=True)
class Headline:
    """`who`, to be marked where that can be, and `text` behind it; `second` is the next line, or empty."""

    who: str
    text: str
    second: str = ""


def headline(verdict: Verdict) -> Headline:
    """The greatest culprit where its stacks together hold more than any one, else the greatest stack, else why none."""
    consumer = verdict.greatest
    if consumer is None:
        return _without_a_name(verdict)
    row = verdict.culprits[0] if verdict.culprits else None
    if row is None or row.pages <= consumer.pages:
        return Headline(name_of(consumer.holding), f" {_holds(consumer.holding.kind)} {amount_of(consumer)}")
    same = row.culprit == consumer.holding.culprit
    whose = "its greatest single stack" if same else f"the greatest single stack: {name_of(consumer.holding)}"
    return Headline(str(row.culprit), _rolled_up(row), f"{whose} holds {amount_of(consumer)}")


def name_of(holding: Holding) -> str:
    """Who a holding is called by: its culprit, else its handle, else what kind of memory it is."""
    if holding.culprit is not None:
        return str(holding.culprit)
    if not holding.stack.frames:
        return f"handle {holding.stack.handle}"
    return {USER: "User memory", PAGE_CACHE: "Page cache", HUGETLB: "Huge page pool"}.get(holding.kind, holding.kind)


def amount_of(consumer: Consumer) -> str:
    """Pages, bytes and the share of RAM, as far as they are known."""
    text = pages_text(consumer.pages)
    if consumer.size_bytes is not None:
        text += f" ({bytes_text(consumer.size_bytes)})"
    if consumer.share_of_ram is not None:
        text += f", {share_text(consumer.share_of_ram)} of RAM"
    return text


def _without_a_name(verdict: Verdict) -> Headline:
    if verdict.most_allocations:
        first = verdict.most_allocations[0]
        return Headline(name_of(first), f" made most allocations: {first.blocks:,}; pages are not counted here")
    if not verdict.counted_stacks and (verdict.balance is not None or verdict.findings):
        claim = verdict.findings[0].claim if verdict.findings else "Who took the pages was not recorded"
        return Headline("", claim)
    return Headline("", "Nobody can be named: only early, dummy or failure stacks hold pages")


def _rolled_up(row: CulpritRow) -> str:
    share = "" if row.share_of_ram is None else f", {share_text(row.share_of_ram)} of RAM"
    kind = row.kinds[0] if len(row.kinds) == 1 else ""
    return f" {_holds(kind)} {pages_text(row.pages)}{share}, over {row.stacks:,} stacks"


def _holds(kind: str) -> str:
    return "grew slab caches to hold" if kind == SLAB else "holds"
