"""Run by a Python that has flamegraph_textual: what its parsers read of a profile, as JSON."""

import json
import sys
from pathlib import Path
from typing import Any

from flamegraph_textual import parse


def walk(frame: Any, path: list[str], found: list[Any]) -> None:
    """Each frame by its path from the root, with its values."""
    for child in frame.children:
        here = [*path, child.name]
        found.append([here, list(child.values)])
        walk(child, here, found)


path = Path(sys.argv[1])
profile = parse(path.read_bytes(), path.name)
frames: list[Any] = []
walk(profile.root_stack, [], frames)
types = [[kind.sample_type, kind.sample_unit] for kind in profile.sample_types]
sys.stdout.write(json.dumps({"types": types, "root": list(profile.root_stack.values), "frames": frames}))
