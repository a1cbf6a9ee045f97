"""What the terminal can do, and writing to it."""

from __future__ import annotations

import os
import sys


def wants_colour(*, no_color: bool) -> bool:
    """Colour on a terminal, unless --no-color, NO_COLOR (no-color.org) or TERM=dumb; FORCE_COLOR asks for it."""
    if no_color or os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def to_terminal(text: str) -> None:
    """Write to standard output in UTF-8, whatever the locale says; a reader that has left ends the command quietly."""
    try:
        sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # Nothing more to say, and nothing to say it to: not even when Python flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
