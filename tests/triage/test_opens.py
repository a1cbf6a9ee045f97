"""A triage opens a file once to look at it, and once to explain it: what is recognised is passed on."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import oomscope.pipeline.inputs
import oomscope.triage.grouping
from oomscope.sources import recognise
from oomscope.triage.grouping import AUTO, look, units
from oomscope.triage.places import files
from oomscope.triage.worker import explained
from tests.support import fleets

_opened: Counter[str] | None = None


def _count(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _opened is not None and isinstance(arguments[0], str):
        _opened[arguments[0]] += 1


sys.addaudithook(_count)


def test_each_file_is_opened_twice_and_recognised_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted by the interpreter itself, over a folder's case and a log's."""
    global _opened
    fleet = fleets.lay_out(tmp_path / "fleet")
    recognised: Counter[int] = Counter()

    def counting(head: bytes) -> object:
        recognised[hash(head)] += 1
        return recognise(head)

    monkeypatch.setattr(oomscope.triage.grouping, "recognise", counting)
    monkeypatch.setattr(oomscope.pipeline.inputs, "recognise", counting)
    found = [file for file in files(str(fleet)) if not file.url.endswith(".tar")]
    _opened = Counter()
    try:
        looked = [(file, look(file, whole=True)) for file in found]
        for unit in units(looked, AUTO):
            explained(unit)
        opened = {file.url: _opened[file.url] for file in found}
    finally:
        _opened = None
    known = [file.url for file, each in looked if each.format]
    assert known
    assert {url: opened[url] for url in known} == dict.fromkeys(known, 2)
    assert max(recognised.values()) <= 2  # what no source knew is tried again in full
