"""What a program hands in: bytes, open files and lines give what the file of the same content gives."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pandas as pd
import pytest

import oomscope
from oomscope.report import json_report

LOG = Path(__file__).parents[2] / "examples/kill-4.18.log"
FORMS: dict[str, Callable[[bytes], Any]] = {
    "bytes": lambda content: content,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "binary file": io.BytesIO,
    "text file": lambda content: io.StringIO(content.decode()),
    "lines": lambda content: content.decode().splitlines(),
    "lines with ends": lambda content: content.splitlines(keepends=True),
    "generator": lambda content: (line for line in content.decode().split("\n")),
}


def told(verdict: oomscope.Verdict) -> dict[str, Any]:
    """The report, but for what the input is called."""
    name = verdict.inputs[0].origin
    text = json.dumps(json_report.to_json(verdict), default=str)
    return cast(dict[str, Any], json.loads(text.replace(json.dumps(name), '"input"')))


@pytest.mark.parametrize("form", FORMS)
def test_content_gives_what_its_file_gives(form: str) -> None:
    """Every number, whatever the content came as."""
    assert told(oomscope.explain(FORMS[form](LOG.read_bytes()))) == told(oomscope.explain(LOG))


def test_an_open_file_has_its_name(tmp_path: Path) -> None:
    """And compressed content is unpacked, as a file's is; an account beside it is of the same machine."""
    path = tmp_path / "kern.log.gz"
    path.write_bytes(gzip.compress(LOG.read_bytes()))
    with path.open("rb") as file:
        verdict = oomscope.explain(
            file, b"MemTotal:        5814384 kB\nMemFree:           95608 kB\nBuffers: 0 kB\nCached: 1 kB\n"
        )
    assert verdict.oom is not None
    assert verdict.oom.origin == str(path)
    assert len(verdict.inputs) == 2


@pytest.mark.parametrize("given", [3, None, 2.5, [1, 2], object()])
def test_what_is_no_input_is_refused(given: Any) -> None:
    """In one sentence, with the exit code of a question that makes no sense."""
    with pytest.raises(oomscope.OomscopeError, match="an input of"):
        oomscope.explain(given)


def test_the_facade_lists_what_it_has() -> None:
    """For whoever explores it in a shell."""
    assert {"explain", "read", "to_frame", "Verdict"} <= set(dir(oomscope))
    assert all(hasattr(oomscope, name) for name in dir(oomscope))


def test_tables_are_data_frames() -> None:
    """With their columns and types also where there is no row."""
    verdict = oomscope.explain(LOG)
    balance = oomscope.to_frame(verdict, "balance")
    assert verdict.balance is not None
    assert int(balance["pages"].sum()) == verdict.balance.ram_pages
    processes = oomscope.to_frame(verdict, "processes")
    assert processes.loc[processes["killed"], "comm"].tolist() == ["cache-main"]
    stacks = oomscope.to_frame(verdict)
    assert isinstance(stacks, pd.DataFrame)
    assert stacks.empty
    assert "culprit" in stacks.columns
    assert len(oomscope.to_frame(verdict, "findings")) == len(verdict.findings)
    with pytest.raises(oomscope.BadQuestion):
        oomscope.to_frame(verdict, "nonsense")


def test_a_text_file_is_read_as_its_bytes(tmp_path: Path) -> None:
    """Whatever encoding it was opened with: a log has bytes of its own."""
    path = tmp_path / "kern.log"
    path.write_bytes(LOG.read_bytes().replace(b"hnsin-varnish", b"caf\xe9"))
    with path.open(encoding="utf-8") as file:
        assert oomscope.explain(file).answer.headline == oomscope.explain(path).answer.headline


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    """A closed file, one for writing, text given as a name, an empty name: a sentence each, and no bug of ours."""
    path = tmp_path / "a.log"
    with path.open("wb") as written, pytest.raises(oomscope.Unreadable, match="cannot be read"):
        oomscope.explain(written)
    with path.open("rb") as closed:
        assert closed.read() == b""
    with pytest.raises(oomscope.Unreadable, match="closed"):
        oomscope.explain(closed)
    with pytest.raises(oomscope.BadQuestion, match="a str is a path"):
        oomscope.explain(LOG.read_text())
    with pytest.raises(oomscope.BadQuestion, match="an empty name"):
        oomscope.explain("")
    with pytest.raises(oomscope.Unreadable, match="out of tape"):
        oomscope.explain(_broken())
    with pytest.raises(oomscope.OomscopeError, match="an input of NoneType"):
        oomscope.explain(["one line", None])  # type: ignore[arg-type]


def _broken() -> Iterator[str]:
    yield "one line"
    raise RuntimeError("out of tape")
