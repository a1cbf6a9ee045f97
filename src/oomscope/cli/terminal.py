"""What the terminal can do."""

from __future__ import annotations

import os
import shutil
import sys

_MOST, _UNWRAPPED = 120, 10_000


def wants_colour(*, no_color: bool) -> bool:
    """Colour on a terminal, unless --no-color, NO_COLOR (no-color.org) or TERM=dumb; FORCE_COLOR asks for it."""
    if no_color or os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def columns(output: str | None = None) -> int:
    """The terminal's, up to 120; what goes into a pipe or a file is not wrapped, unless COLUMNS asks for it."""
    is_seen = output is None and sys.stdout is not None and sys.stdout.isatty()
    if is_seen or os.environ.get("COLUMNS"):
        return min(_MOST, shutil.get_terminal_size((80, 24)).columns)
    return _UNWRAPPED
