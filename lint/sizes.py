"""Files of src/ that are long without a reason: one subject a file, and whoever opens it reads all of it.

    python -m lint.sizes

A file above 400 lines says why in a line of its own: `# longer than 400 lines: REASON`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

MOST_LINES = 400
ROOT = Path(__file__).parents[1] / "src"
_REASON = re.compile(r"^# longer than 400 lines: \S.{10,}$", re.MULTILINE)


def too_long(root: Path = ROOT) -> Iterator[tuple[Path, int]]:
    """The files below `root` that are too long and say no reason, with their lines."""
    for path in sorted(root.rglob("*.py")):
        text = path.read_text()
        lines = text.count("\n")
        if lines > MOST_LINES and _REASON.search(text) is None:
            yield path.relative_to(root), lines


def main() -> int:
    """Print them; 1 where there are any."""
    found = list(too_long())
    for path, lines in found:
        print(f"{path}: {lines} lines")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
