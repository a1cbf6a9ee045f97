"""What the terminal can do, and writing to it."""

from __future__ import annotations

import os
import shutil
import sys

from oomscope.errors import BadQuestion


def wants_colour(*, no_color: bool) -> bool:
    """Colour on a terminal, unless --no-color, NO_COLOR (no-color.org) or TERM=dumb; FORCE_COLOR asks for it."""
    if no_color or os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def to_terminal(text: str) -> None:
    """Write to standard output in UTF-8, whatever the locale says."""
    to_stdout(text.encode("utf-8", "backslashreplace"))


def to_stdout(content: bytes) -> None:
    """Write to standard output; a reader that has left ends the command quietly. Raises BadQuestion if it is closed."""
    if sys.stdout is None:
        raise BadQuestion("standard output is closed")
    try:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # Nothing more to say, and nothing to say it to: not even when Python flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise BadQuestion(f"standard output: {(error.strerror or str(error)).lower()}") from error


def no_page_on_a_terminal() -> None:
    """Raises BadQuestion where standard output is a terminal: megabytes of HTML help nobody there."""
    if sys.stdout is not None and sys.stdout.isatty():
        raise BadQuestion("an HTML page is not for a terminal", advice="give it a file: -o report.html")


def columns() -> int:
    """80, or fewer where the terminal has fewer."""
    return min(80, shutil.get_terminal_size((80, 24)).columns)
