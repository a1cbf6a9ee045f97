"""A binary journal: the answer of the log that is in it.

tests/data/journal has a report of the corpus as systemd-journal-remote 252 writes it, from the export format.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import oomscope
from oomscope.errors import CorruptInput, UnknownContent
from tests.support import captures

NAME = "106-steamdeck-pstore-memchewer"
JOURNAL = captures.DATA / "journal" / f"{NAME}.journal.zst"
LOG = captures.DATA / "corpus" / f"{NAME}.log.zst"


def test_a_journal_says_what_its_log_says() -> None:
    """Class, certainty, victims, balance and every claim."""
    of_journal, of_log = oomscope.explain(JOURNAL), oomscope.explain(LOG)
    assert of_journal.oom is not None
    assert of_log.oom is not None
    assert of_journal.oom.analysis is not None
    assert of_log.oom.analysis is not None
    assert (of_journal.oom.oom_class, of_journal.oom.certainty) == ("user-anon", "certain")
    ours, theirs = of_journal.oom.analysis.accounting, of_log.oom.analysis.accounting
    assert [(row.kind, row.pages) for row in ours.rows] == [(row.kind, row.pages) for row in theirs.rows]
    assert [finding.claim for finding in of_journal.findings] == [finding.claim for finding in of_log.findings]


def test_without_its_reader_there_is_a_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence names the command."""
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(UnknownContent, match=r"a binary journal, which journalctl reads.*journalctl --file FILE > log"):
        oomscope.explain(JOURNAL)


def test_a_spoilt_journal_is_said_to_be_one(tmp_path: Path) -> None:
    """Its signature and nothing that journalctl could read."""
    spoilt = tmp_path / "system.journal"
    spoilt.write_bytes(b"LPKSHHRH" + b"\0" * 5000)
    with pytest.raises(CorruptInput, match="a journal of which journalctl reads nothing"):
        oomscope.explain(spoilt)
