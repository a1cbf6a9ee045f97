"""What the terminal can do."""

from __future__ import annotations

import os
import shutil
import sys


def wants_colour(*, no_color: bool) -> bool:
    """Colour on a terminal, unless --no-color, NO_COLOR (no-color.org) or TERM=dumb; FORCE_COLOR asks for it."""
    if no_color or os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def columns() -> int:
    """80, or fewer where the terminal has fewer."""
    return min(80, shutil.get_terminal_size((80, 24)).columns)
