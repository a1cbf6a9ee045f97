"""The kernel's own accounts as text, read as their source reads them."""

from __future__ import annotations

from oomscope.model.reading import Notes
from oomscope.sources import recognise
from oomscope.sources.base import AccountSource
from oomscope.text import lines


def notes_of(text: bytes | str, cut: int = 40, of: bytes | None = None) -> Notes:
    """What the source of `of` (the text's own, if none) makes of a text whose bytes come in pieces of `cut`."""
    raw = text.encode() if isinstance(text, str) else text
    source = recognise(of or raw)
    assert isinstance(source, AccountSource)
    return source.notes_of(lines(raw[at : at + cut] for at in range(0, len(raw), cut)))
