"""Folded stacks, as flamegraph.pl and its kin read them: `entry;...;innermost PAGES`, a line for each stack."""

from __future__ import annotations

from oomscope.export.frames import path_of
from oomscope.model.verdict import Verdict


def export(verdict: Verdict) -> bytes:
    """One line for each path of names, most pages first; a semicolon within a name would end it and becomes a colon."""
    pages: dict[str, int] = {}
    for consumer in verdict.consumers:
        path = ";".join(name.replace(";", ":") for name in path_of(consumer))
        pages[path] = pages.get(path, 0) + consumer.pages
    ranked = sorted(pages.items(), key=lambda line: -line[1])
    return "".join(f"{path} {count}\n" for path, count in ranked).encode("utf-8", "backslashreplace")
