"""What grew between the readings of one text: the first and the last are held against each other."""

from __future__ import annotations

from oomscope.attribution.growth_in_text import changes_in_text
from oomscope.model.diff import BALANCE, Change
from oomscope.model.oom_analysis import FREE, PCP
from oomscope.model.verdict import LIKELY, Finding
from oomscope.units import bytes_text, pages_text
from oomscope.verdict.rules.case import RuleCase

_WORTH_SAYING_BYTES, _WORTH_SAYING_PAGES = 1 << 20, 256
_NOT_HELD = (FREE, PCP)


def rule(case: RuleCase) -> tuple[Finding, ...]:
    """Claims what grew most: a row of RAM, and beside it a cache, a process or whatever the accounts name."""
    grown = [change for change in changes_in_text(case.facts.evidence) if _is_growth(change)]
    rows = [change for change in grown if change.kind == BALANCE][:1]
    named = [change for change in grown if change.kind != BALANCE][:1]
    return tuple(_finding(change) for change in (*rows, *named))


def _is_growth(change: Change) -> bool:
    if change.kind == BALANCE and change.name in _NOT_HELD:
        return False
    if change.change_bytes is not None:
        return change.change_bytes >= _WORTH_SAYING_BYTES
    return (change.change_pages or 0) >= _WORTH_SAYING_PAGES


def _finding(change: Change) -> Finding:
    if change.before_bytes is not None and change.after_bytes is not None and change.change_bytes is not None:
        more, before, after = (bytes_text(n) for n in (change.change_bytes, change.before_bytes, change.after_bytes))
    else:
        pages = (change.change_pages, change.before_pages, change.after_pages)
        more, before, after = (pages_text(n or 0) for n in pages)
    what = change.name if change.kind == BALANCE else f"{change.kind} {change.name}"
    return Finding(
        claim=f"{what} grew by {more} between the first and the last reading in this text, from {before} to {after}",
        pages=change.change_pages,
        certainty=LIKELY,
        because=("the readings are taken to stand in their order in time",),
        refuted_by="readings that were pasted in another order, or of another boot",
        next="readings further apart tell whether it goes on",
    )
