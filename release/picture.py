"""The picture of an answer that the README begins with: what the command prints, as SVG.

python -m release.picture
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs/images/answer.svg"
COMMAND = "oomscope examples/kill-4.18.log"
_COLUMNS, _LINES = 100, 27
# The reader's own monospace font: nothing is loaded from anywhere.
_FORMAT = re.sub(r"@font-face \{\{.*?\}\}\s*|<!--.*?-->\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


def picture() -> str:
    """The picture, made from a run of this checkout."""
    environment = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(_COLUMNS)}
    command = [sys.executable, "-m", *COMMAND.split()]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True, text=True)
    console = Console(record=True, file=StringIO(), width=_COLUMNS, force_terminal=True, color_system="truecolor")
    console.print(Text.assemble(("$ ", "dim"), COMMAND))
    console.print(Text.from_ansi("\n".join(done.stdout.splitlines()[:_LINES])))
    return console.export_svg(title="oomscope", code_format=_FORMAT, unique_id="answer")


if __name__ == "__main__":
    PICTURE.write_text(picture())
