"""Which form an answer takes: the one asked for, else the one that its file's name tells."""

from __future__ import annotations

from pathlib import PurePath

_BY_SUFFIX = {".html": "html", ".htm": "html", ".json": "json", ".md": "markdown", ".markdown": "markdown"}
TEXT = "text"


def chosen(form: str | None, output: str | None, offered: tuple[str, ...]) -> str:
    """The form; a name that tells of one that is not offered here tells nothing."""
    if form is not None:
        return form
    told = None if output is None else _BY_SUFFIX.get(PurePath(output).suffix.lower())
    return told if told in offered else TEXT
