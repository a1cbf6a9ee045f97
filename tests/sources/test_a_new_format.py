"""A new format is one file and one line: here a toy one, in a dozen lines, without another module knowing of it."""

from __future__ import annotations

from pathlib import Path

import pytest

import oomscope
from oomscope import sources
from oomscope.model.account import PAGES, VMALLOC_CALLER, Entry, account
from oomscope.model.reading import Accounts, Notes
from oomscope.sources.base import AccountSource
from oomscope.text import Lines
from tests.support import captures


# The file.
def _read(rows: Lines) -> Notes:
    pairs = [row.split() for row in rows if row is not None][1:]
    entries = [Entry(name.decode(), int(pages), 1) for name, pages in pairs]
    return Notes(accounts=Accounts(tables=account(VMALLOC_CALLER, PAGES, "areas", entries)))


TOY = AccountSource("toy", lambda head: head.startswith(b"toy 1\n"), _read)


def test_a_toy_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is recognised, told as what it is, and its rows are the kernel's account beside a dump and by itself."""
    path = tmp_path / "toy"
    path.write_text("toy 1\nshapes_init 4096\ncolours_init 17\n")
    with pytest.raises(oomscope.OomscopeError, match="of no kind that is known"):
        oomscope.explain(path)
    monkeypatch.setattr(sources, "SOURCES", (TOY, *sources.SOURCES))  # the line
    alone = oomscope.explain(path)
    assert alone.answer.headline == "shapes_init mapped most with vmalloc: 4,096 pages in 1 areas"
    assert [each.format for each in alone.inputs] == ["toy"]
    beside = oomscope.explain(path, captures.AFTER_6_12)
    assert [entry.name for each in beside.accounts for entry in each.entries] == ["shapes_init", "colours_init"]
