"""Which files make a case: by what they hold, or by what was asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from oomscope.triage.grouping import AUTO, EACH_FILE, EACH_FOLDER, look, units
from oomscope.triage.places import files
from oomscope.triage.worker import explained
from tests.support import captures, corpus
from tests.support.fleets import write

LOG = captures.text(corpus.path("001-el6-sshd-java-swap-full.log"))
DUMP = captures.text(captures.BEFORE_6_12)[:200_000]
MEMINFO = b"MemTotal:        2026584 kB\nMemFree:           24584 kB\n"


def grouped(place: Path, grouping: str) -> list[tuple[str, int]]:
    """Names of cases, and how many files each has."""
    looked = [(file, look(file, whole=True)) for file in files(str(place))]
    return [(unit.name, len(unit.files)) for unit in units(looked, grouping)]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Two logs by themselves, a machine's folder with a log, a dump and meminfo, and what is of no kind."""
    write(tmp_path / "site" / "one.log", LOG)
    write(tmp_path / "site" / "two.log", LOG.replace(b"sshd", b"cron"))
    write(tmp_path / "host" / "logs" / "console.log", LOG)
    write(tmp_path / "host" / "page_owner", DUMP)
    write(tmp_path / "host" / "meminfo", MEMINFO)
    write(tmp_path / "notes.bin", b"\0\1\2" * 100)
    return tmp_path


def test_what_needs_company_makes_its_folder_a_case(place: Path) -> None:
    """A log or an unknown file is a case of its own, a folder with a dump is one with all below it."""
    assert grouped(place, AUTO) == [("host", 3), ("notes.bin", 1), ("site/one.log", 1), ("site/two.log", 1)]


def test_each_file_or_each_folder_if_that_is_asked(place: Path) -> None:
    """Whatever is in them."""
    assert [count for _, count in grouped(place, EACH_FILE)] == [1] * 6
    assert grouped(place, EACH_FOLDER) == [("host", 3), ("notes.bin", 1), ("site", 2)]


def test_content_names_a_case(place: Path) -> None:
    """The same bytes have the same name wherever they lie, other bytes another one."""
    looked = {file.relative: look(file, whole=True).digest for file in files(str(place))}
    assert looked["site/one.log"] == looked["host/logs/console.log"] != looked["site/two.log"]
    assert all(looked.values())


def test_a_file_that_was_replaced_is_read_as_what_it_is(tmp_path: Path) -> None:
    """What it was when it was looked at is not believed any more."""
    path = tmp_path / "case"
    write(path, LOG)
    (unit,) = units([(file, look(file, whole=True)) for file in files(str(path))], AUTO)
    path.write_bytes(MEMINFO + b"Cached: 1000 kB\nShmem: 1 kB\nBuffers: 1 kB\n")
    done = explained(unit)
    assert done.results[0].row.source == "meminfo"
    assert not done.is_lasting
