"""The 2020 patch's own lines, ready to paste into a mail."""

from __future__ import annotations

from oomscope.model.verdict import Verdict


def render(verdict: Verdict, *, top: int = 1) -> str:
    """The `top` greatest consumers as the dying kernel would print them: frames in %pS form, one leading space.

    A stack known by its handle alone has no frames: a line names the handle, as page_owner does. Empty where nothing
    may be named.
    """
    lines: list[str] = []
    for rank, consumer in enumerate(verdict.consumers[:top], start=1):
        who = "greatest memory consumer" if rank == 1 else f"memory consumer #{rank}"
        lines.append(f"OOM: {who}: {consumer.pages} pages are allocated from:")
        stack = consumer.holding.stack
        lines += [f" {text}" for text in stack.texts] or [f" handle: {stack.handle}"]
    return "".join(f"{line}\n" for line in lines)
