"""What is printed: the at-panic lines, as a dying kernel's own program prints them."""

from __future__ import annotations

_CULPRITS = 3


def lines(told: dict[str, object], top: int) -> list[str]:
    """The lines of findings with their `top` greatest consumers; what is missing behind them."""
    found: list[str] = []
    consumers: list[dict[str, object]] = told.get("consumers", [])  # type: ignore[assignment]
    culprits: list[dict[str, object]] = told.get("culprits", [])  # type: ignore[assignment]
    for number, consumer in enumerate(consumers[:top], 1):
        name = "greatest memory consumer" if number == 1 else f"memory consumer #{number}"
        found.append(f"OOM: {name}: {consumer['pages']} pages are allocated from:")
        frames: list[str] = consumer["frames"]  # type: ignore[assignment]
        found += [f" {frame}" for frame in frames]
    for number, each in enumerate(culprits[:_CULPRITS]):
        name = "next culprit" if number else "greatest culprit"
        found.append(f"OOM: {name}: {each['pages']} pages by {each['name']} through {each['stacks']} stacks")
    if told.get("unnamed_pages"):
        found.append(f"OOM: culprits of {told['unnamed_pages']} pages are not counted")
    if "stacks" in told:
        found += _totals(told)
    missing: list[str] = told["missing"]  # type: ignore[assignment]
    return found + [f"OOM: not told: {each}" for each in missing]


def _totals(told: dict[str, object]) -> list[str]:
    def pages(name: str) -> int:
        return int(told.get(f"{name}_pages") or 0)  # type: ignore[call-overload, no-any-return]

    uncounted = pages("early") + pages("nameless") + pages("unread") + pages("lost") + pages("left_out")
    whole = f" of {told['ram_pages']}" if told.get("ram_pages") else ""
    found = [f"OOM: {told['stacks']} stacks hold {told['pages']}{whole} pages; {uncounted} pages not counted"]
    beyond = f"{pages('nameless')} without a stack, {pages('lost')} beyond the table"
    if "since_ns" in told:
        found.append(f"OOM: not counted: {pages('left_out')} user memory, {beyond}")
    elif uncounted:
        found.append(f"OOM: not counted: {pages('early')} early, {beyond}, {pages('unread')} unread")
    if told.get("is_stopped"):
        found.append("OOM: stopped, time was over: the numbers are too small")
    return found
