"""The table of docs/witnesses.md: two counts of the same pages in one capture, and what their difference is."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.kernels import KERNELS
from lab.scenarios import SCENARIOS

_HEAD = """# Witnesses

Two counts of the same pages are never added: one is explained, the other is its witness, and `oomscope explain` says
what the difference is. `python -m lab witnesses` wrote this table at {commit} from the lab's captures.

- **text** is page_owner's text beside show_stacks, read one after the other while the guest lived on.
- **dump** is page_ext in a core dump, page by page, beside the kernel's own count per stack in the same dump (stack
  depot), what the armed program kept in its map (report of the OOM panic), and the lines that it printed (in the
  dump's kernel log, on the console). Printed lines hold the greatest stacks only: these are compared.

"""
_HEADINGS = ("kernel", "scenario", "pages", "witness", "its pages", "the difference is")
_WITHIN = "within one dump"


@dataclass(frozen=True)
class _Pair:
    """What is explained together, and how the table calls it."""

    name: str
    paths: tuple[str, ...]


_PAIRS = (
    _Pair("text", ("taken/page_owner", "taken/show_stacks")),
    _Pair("dump", ("core", "console.log")),
)


def table(cases: Path) -> str:
    """Markdown: every witness of every capture that has one."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    lines = [f"| {' | '.join(_HEADINGS)} |", "|---|---|--:|---|--:|---|"]
    lines += [f"| {' | '.join(cells)} |" for cells in _rows(cases)]
    return _HEAD.format(commit=commit.stdout.strip()) + "\n".join(lines) + "\n"


def _rows(cases: Path) -> Iterator[tuple[str, ...]]:
    for kernel in KERNELS:
        for scenario in SCENARIOS:
            for pair in _PAIRS:
                folder = cases / kernel.name / scenario.name
                found = [path for name in pair.paths for path in sorted(folder.glob(f"{name}*"))]
                if len(found) < len(pair.paths):
                    continue
                for witness in _witnesses(found):
                    parts = [f"{_short(part['name'])} {part['amount']:+,}" for part in witness["difference"]]
                    told = "; ".join(parts) or "none, stack by stack"
                    who = Path(witness["origin"]).name if pair.name == "text" else witness["origin"].rpartition(": ")[2]
                    count = (
                        f"{witness['ours']:,}",
                        f"{pair.name} beside {Path(who).name.removesuffix('.zst')}",
                        f"{witness['theirs']:,}",
                    )
                    yield (kernel.name, scenario.name, *count, told)


def _short(name: str) -> str:
    """What a part is called, without the reason where that follows a colon."""
    return _WITHIN if name.startswith(_WITHIN) else name.partition(":")[0]


def _witnesses(paths: list[Path]) -> list[Any]:
    command = [sys.executable, "-m", "oomscope", "explain", "--format", "json", "--top", "1", *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    witnesses: list[Any] = json.loads(done.stdout)["witnesses"] if done.returncode == 0 else []
    return witnesses
