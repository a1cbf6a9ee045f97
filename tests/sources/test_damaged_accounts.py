"""Spoilt and hostile accounts: a foreign line costs nothing but itself, damage anywhere ends in no traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import oomscope
from oomscope.report import json_report, terminal
from tests.sources.procfs.test_proc_files import ALLOC_TRACES, ALLOCINFO, VMALLOCINFO
from tests.sources.test_accounts import ACCOUNTS, BUFINFO, KMEMLEAK, PERCPU_STATS
from tests.support import captures
from tests.support.accounts import notes_of
from tests.support.draws import draws

_REAL = ACCOUNTS / "6.12-set-aside"
TEXTS: dict[str, bytes] = {
    path.name.removesuffix(".zst"): captures.text(path)
    for path in sorted(_REAL.iterdir())
    if path.name not in ("truth.json", "meminfo", "bufinfo")
} | {
    "kmemleak": KMEMLEAK.encode(),
    "bufinfo": BUFINFO.encode(),
    "percpu_stats": PERCPU_STATS.encode(),
    "alloc_traces": ALLOC_TRACES.encode(),
    "allocinfo": ALLOCINFO.encode(),
    "vmallocinfo, transcribed": VMALLOCINFO.encode(),
}
JUNK = {
    "no text": b"\xff\x00junk",
    "escapes": b"\x1b[31m <script>alert(1)</script>",
    "beyond any line": b"z" * 70_000,
    "right to left": b"\xe2\x80\xae0 : tunables",
}


@pytest.mark.parametrize("name", TEXTS)
@given(at=st.floats(0, 1, exclude_max=True), junk=st.sampled_from(list(JUNK)))
@draws(40)
def test_a_foreign_line_costs_only_itself(name: str, at: float, junk: str) -> None:
    """Put between any two lines: every row is what it was, and the line is counted."""
    whole = TEXTS[name]
    lines = whole.split(b"\n")
    index = 1 + int(at * (len(lines) - 1))
    spoilt = notes_of(b"\n".join([*lines[:index], JUNK[junk], *lines[index:]]), 977, whole)
    clean = notes_of(whole, 977, whole)
    assert (spoilt.accounts.tables, spoilt.accounts.counters, spoilt.accounts.free_blocks) == (
        clean.accounts.tables,
        clean.accounts.counters,
        clean.accounts.free_blocks,
    )
    assert spoilt.accounts.cache_objects == clean.accounts.cache_objects
    assert spoilt.stats.unknown_lines == clean.stats.unknown_lines + 1


@pytest.mark.parametrize("name", TEXTS)
@given(at=st.floats(0, 1, exclude_max=True), length=st.integers(0, 400), piece=st.binary(max_size=40))
@draws(60)
def test_damage_anywhere_ends_in_no_traceback(name: str, at: float, length: int, piece: bytes) -> None:
    """What is cut out or comes in: no error, and nothing is read into a holder that was not there."""
    whole = TEXTS[name]
    start = int(at * len(whole))
    notes = notes_of(whole[:start] + piece + whole[start + length :], 977, whole)
    known = {entry.name for account in notes_of(whole, 977, whole).accounts.tables for entry in account.entries}
    new = [entry.name for account in notes.accounts.tables for entry in account.entries if entry.name not in known]
    assert len(new) <= 3  # the rows that the damage touched


@pytest.mark.parametrize("name", TEXTS)
def test_cut_files_and_empty_rows_are_explained_or_refused(name: str, tmp_path: Path) -> None:
    """Any length of the file: a verdict in both outputs, or one clear sentence."""
    whole = TEXTS[name]
    path = tmp_path / name.partition(",")[0]
    for share in (0.02, 0.3, 0.7, 0.99):
        path.write_bytes(whole[: int(share * len(whole))])
        try:
            verdict = oomscope.explain(path)
        except oomscope.OomscopeError as error:
            assert "\n" not in str(error)
            continue
        assert terminal.render(verdict)
        assert json_report.render(verdict)


def test_hostile_names_are_shown_as_text(tmp_path: Path) -> None:
    """What user space or a module's author may choose reaches no terminal as an escape."""
    (tmp_path / "bufinfo").write_text(BUFINFO.replace("camera preview", "\x1b[2Jcam\u202eera"))
    (tmp_path / "kmemleak").write_text(KMEMLEAK.replace('comm "cat"', 'comm "\x1b[2J"'))
    printed = terminal.render(oomscope.explain(tmp_path), colour=False)
    assert "\x1b" not in printed
    assert "\u202e" not in printed
    assert "\\x1b[2Jcam" in printed
