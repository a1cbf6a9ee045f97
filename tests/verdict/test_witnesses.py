"""Two counts of one machine: why they differ depends on whether they are of one moment."""

from __future__ import annotations

from dataclasses import replace

import pytest

import oomscope
from oomscope.model.reading import LogFacts, Notes, Reading, Role
from oomscope.verdict import witnesses
from tests.support import captures

DUMP = captures.DUMPS[0]


@pytest.mark.parametrize(
    ("role", "told"),
    [
        (Role.LOG, "freed after the report, before panic() stopped the other processors"),
        (Role.STACK_COUNTS, "one of the two is damaged, or could not be read in part"),
    ],
)
def test_a_report_of_the_panic_is_older_than_the_dump(role: Role, told: str) -> None:
    """Four pages fewer in the dump: freed since, behind a report; a contradiction, where both are of one moment."""
    moment = oomscope.read(DUMP).latest
    assert moment.counts.pages is not None
    before = moment.counts.pages.copy()
    before[0] += 4
    notes = Notes(log=LogFacts(panicked=True))
    witness = Reading("report", "kernel log", role, notes, replace(moment.counts, pages=before), witness_of="dump")
    (report,) = witnesses.reports(replace(moment, witnesses=(witness,)))
    assert report.ours - report.theirs == -4
    assert [(part.amount, told in part.name) for part in report.parts] == [(-4, True)]
