"""What changed between two readings: for people, as kernel log lines, as JSON."""

from __future__ import annotations

import io
import json
from typing import Any

from rich.console import Console
from rich.text import Text

from oomscope.model.account import CALL_SITE, KINDS, SLAB_CACHE
from oomscope.model.diff import BALANCE, CULPRIT, STACK, Change, Difference
from oomscope.report.tables import console_to, show, table, title
from oomscope.units import bytes_text, duration_text, pages_text

_TITLES = {CULPRIT: "Culprits", STACK: "Stacks", **KINDS, BALANCE: "Balance of RAM"}
_STACKS_SHOWN = 3


def text(difference: Difference, *, top: int = 10, colour: bool = False, width: int = 80) -> str:
    """The greatest change first, then a table of each kind."""
    out = io.StringIO()
    console = console_to(out, colour=colour, width=width)
    console.print(Text(_headline(difference), style="bold"))
    apart = "" if difference.apart_ns is None else f", {duration_text(difference.apart_ns)} apart"
    console.print(Text(f"from {difference.before} to {difference.after}{apart}"))
    if difference.restart is not None:
        console.print(Text(f"The machine restarted between the two: {difference.restart}", style="bold yellow"))
    for stack in [c for c in difference.of(STACK) if (c.change_pages or 0) > 0 and c.stack is not None][:1]:
        console.print()
        console.print(Text(f"OOM: {stack.change_pages:+} pages are allocated from:"), soft_wrap=True)
        for frame in stack.stack.texts if stack.stack is not None else ():
            console.print(Text(f" {frame}"), soft_wrap=True)
    for kind, heading in _TITLES.items():
        _kind(console, heading, difference.of(kind), top)
    if difference.absent:
        title(console, "Not known")
        for absent in difference.absent[:12]:
            console.print(Text(f"  {absent.what}: {absent.reason}"))
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def kernel(difference: Difference, *, top: int = _STACKS_SHOWN) -> str:
    """The stacks that grew most, as the dying kernel would print them."""
    grown = [change for change in difference.of(STACK) if (change.change_pages or 0) > 0]
    lines: list[str] = []
    for change in grown[:top]:
        lines.append(f"OOM: {change.change_pages:+} pages are allocated from:")
        stack = change.stack
        if stack is not None:
            lines += [f" {frame}" for frame in stack.texts] or [f" handle: {stack.handle}"]
    return "".join(f"{line}\n" for line in lines)


def as_json(difference: Difference, *, top: int | None = None) -> str:
    """One object; `changes` has a list per kind."""
    report = {
        "schema": "oomscope-diff/1",
        "before": difference.before,
        "after": difference.after,
        "apart_ns": difference.apart_ns,
        "restart": difference.restart,
        "changes": {kind: [_as_json(change) for change in difference.of(kind)[:top]] for kind in _TITLES},
        "absent": [{"what": absent.what, "reason": absent.reason} for absent in difference.absent],
    }
    return json.dumps(report, ensure_ascii=False, indent=1) + "\n"


def _as_json(change: Change) -> dict[str, Any]:
    return {
        "name": change.name,
        "before_pages": change.before_pages,
        "after_pages": change.after_pages,
        "change_pages": change.change_pages,
        "before_bytes": change.before_bytes,
        "after_bytes": change.after_bytes,
        "change_bytes": change.change_bytes,
        "bytes_per_s": change.bytes_per_s,
        **({} if change.stack is None else {"stack": list(change.stack.texts)}),
    }


def _headline(difference: Difference) -> str:
    for kind in dict.fromkeys((CULPRIT, CALL_SITE, SLAB_CACHE, STACK, *_TITLES)):
        grown = [change for change in difference.of(kind) if (change.change_bytes or change.change_pages or 0) > 0]
        if grown:
            return f"{grown[0].name} grew by {_amount(grown[0])}"
    return "Nothing grew"


def _amount(change: Change) -> str:
    size = "" if change.change_bytes is None else bytes_text(change.change_bytes)
    if change.change_pages is None:
        return size
    pages = pages_text(change.change_pages)
    return f"{size} ({pages})" if size else pages


def _kind(console: Console, heading: str, found: tuple[Change, ...], top: int) -> None:
    if not found:
        return
    title(console, f"{heading}: {min(top, len(found))} of {len(found):,} that changed")
    has_pages = found[0].change_pages is not None
    has_rate = found[0].bytes_per_s is not None
    rows = table(
        ("pages" if has_pages else "bytes", True), ("now", True), *((("per s", True),) if has_rate else ()), ("", False)
    )
    for change in found[:top]:
        moved = f"{change.change_pages:+,}" if change.change_pages is not None else _signed(change.change_bytes or 0)
        now = f"{change.after_pages:,}" if change.after_pages is not None else bytes_text(change.after_bytes or 0)
        rate = (_signed(round(change.bytes_per_s or 0)),) if has_rate else ()
        rows.add_row(moved, now, *rate, change.name)
    show(console, rows)


def _signed(size_bytes: int) -> str:
    return f"{'-' if size_bytes < 0 else '+'}{bytes_text(abs(size_bytes))}"
