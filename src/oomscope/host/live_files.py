"""What a living machine tells of itself in text (debugfs and /proc)."""

from __future__ import annotations

from pathlib import Path

from oomscope.io.input import Input

# It counts the pages that kernel memory counts, too, at another moment and more slowly. show_stacks is not asked at
# all: it would be a second count of the same pages, and where the kernel's list is damaged it never ends.
PAGE_OWNER = Path("/sys/kernel/debug/page_owner")
_FILES = (Path("/proc/version"), Path("/proc/meminfo"), PAGE_OWNER)


def live_files() -> tuple[Input, ...]:
    """The files of this machine that are there."""
    found = []
    for path in _FILES:
        try:
            if path.exists():
                found.append(Input(str(path), path))
        except PermissionError:
            found.append(Input(str(path), path))  # opening it says so
    return tuple(found)
