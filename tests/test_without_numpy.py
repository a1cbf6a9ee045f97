"""A log and the kernel's own files are explained without NumPy: not loaded, and not missed where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

DATA = Path(__file__).parent / "data"
# What a browser's Python does not have, beside NumPy.
_ABSENT = ("numpy", "drgn", "rich", "click", "msgspec", "fsspec", "jinja2", "plotly")
_EXPLAIN = f"""
import sys, json
if sys.argv[1] == "without":
    sys.modules.update(dict.fromkeys({_ABSENT!r}))
import oomscope
from oomscope.report import json_report
said = {{}}
for path in sys.argv[2:]:
    try:
        said[path] = json_report.to_json(oomscope.explain(path))
    except oomscope.OomscopeError as error:
        said[path] = str(error)
print(json.dumps([said, "numpy" in sys.modules], default=str))
"""


def explained(how: str, paths: list[Path]) -> tuple[dict[str, object], bool]:
    command = [sys.executable, "-c", _EXPLAIN, how, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, check=True, env={**os.environ, "PYTHONHASHSEED": "0"})
    said, has_loaded = json.loads(done.stdout)
    return said, has_loaded


@pytest.fixture(scope="module")
def logs() -> list[Path]:
    return sorted(path for path in (DATA / "corpus").rglob("*") if path.is_file() and path.stat().st_size < 1 << 20)


def test_logs_have_the_same_answer(logs: list[Path]) -> None:
    """To the last number of the JSON."""
    assert len(logs) > 50
    without, _ = explained("without", logs)
    with_all, _ = explained("with", logs)
    assert without == with_all


def test_a_log_does_not_load_it(logs: list[Path]) -> None:
    """It costs a third of the command's time."""
    _, has_loaded = explained("with", logs[:3])
    assert not has_loaded


def test_stacks_say_what_they_need(tmp_path: Path) -> None:
    """One sentence, and no answer that is none."""
    path = tmp_path / "page_owner.txt"
    path.write_text(
        "Page allocated via order 0, mask 0xcc0(GFP_KERNEL), pid 1, tgid 1 (init), ts 1 ns\n"
        "PFN 1 type Unmovable Block 0 type Unmovable Flags 0x0()\n alloc_pages+0x1/0x2\n take_page+0x1/0x2\n\n"
    )
    said, _ = explained("without", [path])
    assert "NumPy" in str(said[str(path)])
