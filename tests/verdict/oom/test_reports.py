"""Evidence as people paste it (tests/data/reports): the class, and the words that the first lines of the answer need.

`class` has the right ones, `-` where none is asked for, `none` where there is nothing to explain; `has` are regular
expressions that the first 45 lines must hold, `not` one that they must not. The judgements were written before.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import oomscope
from oomscope.errors import OomscopeError
from oomscope.model.verdict import CERTAIN, Verdict
from oomscope.report import terminal
from tests.support import captures
from tests.support.advice import misfits

FOLDER = captures.DATA / "reports"
RIGHT_AT_LEAST = 0.95
# Still wrong, and what is missing: anything else that goes wrong is new.
KNOWN = {
    "new-57-pty04-kmalloc-4k-interleaved-console.log": "the cache behind the slab is named beyond the first lines",
    "new-66-k210-8M-order9-then-deadlock-quoted.log": "watermarks of most of an 8 MiB machine: no-shortage, likely",
    "new-103-graphics-shmem-normal-zone-double-quoted.log": "a zone line whose title is cut off is not read",
    "new-123-wilc1000-slub-trace-kmalloc512.log": "a stack that is cut off: its workqueue would name the driver",
    "new-128-gluon-32M-order2-hotplug.log": "the numbers of the failure before the one whose header is left",
}
_LINES = 45


@dataclass(frozen=True)
class Pasted:
    """A row of EXPECTED.tsv."""

    name: str
    classes: tuple[str, ...]
    has: tuple[str, ...]
    has_not: str

    @property
    def path(self) -> Path:
        """Where it lies: a file, or a folder of several."""
        folder = FOLDER / self.name
        return folder if folder.is_dir() else FOLDER / f"{self.name}.zst"

    @property
    def is_of_an_oom(self) -> bool:
        """Whether a class is asked for."""
        return self.classes not in (("-",), ("none",))


def _rows() -> list[Pasted]:
    with (FOLDER / "EXPECTED.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [
        Pasted(
            row["file"], tuple(row["class"].split("|")), tuple(filter(None, row["has"].split(";;"))), row["not"] or ""
        )
        for row in rows
    ]


ROWS = _rows()
OF_AN_OOM = [row for row in ROWS if row.is_of_an_oom]
OF_ACCOUNTS = [row for row in ROWS if row.classes == ("-",)]


@cache
def answer_of(row: Pasted) -> Verdict | OomscopeError:
    """The verdict, or why there is none; asked for once."""
    try:
        return oomscope.explain(row.path)
    except OomscopeError as refused:
        return refused


def wrong_with(row: Pasted) -> list[str]:
    """What is wrong with the answer; empty where nothing is."""
    verdict = answer_of(row)
    if isinstance(verdict, OomscopeError):
        return [] if row.classes == ("none",) else [f"refused: {verdict}"]
    if row.classes == ("none",):
        return ["should find nothing to explain"]
    head = " ".join(" ".join(terminal.render(verdict).splitlines()[:_LINES]).split())
    wrong = []
    if row.is_of_an_oom:
        oom = verdict.oom
        got = "no OOM" if oom is None else oom.oom_class
        wrong += [] if got in row.classes else [f"class {got}"]
    wrong += [f"not said: {regex}" for regex in row.has if not re.search(regex, head, re.IGNORECASE)]
    if row.has_not and re.search(row.has_not, head, re.IGNORECASE):
        wrong.append(f"said: {row.has_not}")
    return wrong + misfits(verdict)


def test_ooms_are_explained_as_an_expert_would() -> None:
    """At least 95 of 100 pieces that tell of an OOM: the class, the numbers, and nothing that is wrong."""
    wrong = {row.name: why for row in OF_AN_OOM if (why := wrong_with(row))}
    assert wrong.keys() <= KNOWN.keys(), wrong
    assert len(wrong) <= (1 - RIGHT_AT_LEAST) * len(OF_AN_OOM), wrong


def test_accounts_are_found_within_what_people_paste() -> None:
    """Of pieces without a report at least as many: who holds most, by the account that stands in the text."""
    wrong = {row.name: why for row in OF_ACCOUNTS if (why := wrong_with(row))}
    assert wrong.keys() <= KNOWN.keys(), wrong
    assert len(wrong) <= (1 - RIGHT_AT_LEAST) * len(OF_ACCOUNTS), wrong


def test_no_certain_class_is_wrong() -> None:
    """Certain is a promise, on logs that were never seen, too."""
    wrong = {}
    for row in OF_AN_OOM:
        verdict = answer_of(row)
        oom = None if isinstance(verdict, OomscopeError) else verdict.oom
        if oom is not None and oom.certainty == CERTAIN and oom.oom_class not in row.classes:
            wrong[row.name] = oom.oom_class
    assert wrong == {}
