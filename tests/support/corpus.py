"""The corpus: public OOM reports as they were published, each with an expert's class (tests/data/corpus/INDEX.tsv)."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from oomscope.model.oom_event import OomEvent
from oomscope.sources.kernel_log.source import KernelLogParser
from tests.support import captures

CORPUS = captures.DATA / "corpus"
# Where we hold the label wrong: docs/corpus.md argues each with the report's numbers.
DISPUTED = {"132-false-global-panic-excerpt.log": "no-shortage"}


@dataclass(frozen=True)
class Report:
    """One file and what INDEX.tsv says of it; `classes` are those that are right."""

    name: str
    kind: str
    truncated: bool
    classes: frozenset[str]

    @property
    def text(self) -> bytes:
        """The file as published."""
        return captures.text(path(self.name))

    def __str__(self) -> str:
        return self.name[:40]


def path(name: str) -> Path:
    """Where a file of the corpus lies, compressed."""
    return CORPUS / f"{name}.zst"


def _index() -> tuple[Report, ...]:
    with (CORPUS / "INDEX.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return tuple(
        Report(row["file"], row["kind"], row["truncated"] == "y", frozenset(row["class"].split("|"))) for row in rows
    )


REPORTS = _index()


def events(text: bytes) -> tuple[OomEvent, ...]:
    """The OOM events of a log."""
    parser = KernelLogParser()
    for _ in parser.batches([text]):
        pass
    return parser.notes.log.events


@cache
def events_of(name: str) -> tuple[OomEvent, ...]:
    """The OOM events of a file of the corpus."""
    return events(captures.text(path(name)))
