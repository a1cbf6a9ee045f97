"""Labels and times of cases: from folders, from a sidecar, from stamps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from oomscope.errors import BadQuestion
from oomscope.model.triage import BY_FILE, BY_LOG, BY_SIDECAR
from oomscope.triage.labels import Labels, labels
from oomscope.triage.timestamps import when
from tests.support import fleets
from tests.support.fleets import lay_out, triaged

WRITTEN = 1_700_000_000.0  # 2023-11-14T22:13:20Z


def test_a_pattern_names_the_folders_of_a_case() -> None:
    """The outermost first; a case that lies less deep has the first ones only."""
    named = labels("site/host", None)
    assert named.of("a/b/c/kern.log", "a/b/c") == {"site": "a", "host": "b"}
    assert named.of("a/kern.log", "a") == {"site": "a"}
    assert named.of("kern.log", "") == {}


def test_a_sidecar_tells_of_cases_and_of_folders(tmp_path: Path) -> None:
    """CSV and JSON say the same; what is said of a case comes before what is said of its folder, and both before it."""
    rows = [
        {"case": "a", "site": "north", "owner": "ops"},
        {"case": "a/kern.log", "owner": "dev", "seen": "2024-02-29 12:00:00"},
    ]
    table = tmp_path / "cases.csv"
    table.write_text("case,site,owner,seen\na,north,ops,\na/kern.log,,dev,2024-02-29 12:00:00\n")
    as_list, as_object = tmp_path / "list.json", tmp_path / "object.json"
    as_list.write_text(json.dumps(rows))
    as_object.write_text(json.dumps({row["case"]: {k: v for k, v in row.items() if k != "case"} for row in rows}))
    for path in (table, as_list, as_object):
        told = labels("site", str(path))
        assert told.of("a/kern.log", "a") == {"site": "north", "owner": "dev", "seen": "2024-02-29 12:00:00"}
        assert told.of("a/other.log", "a") == {"site": "north", "owner": "ops"}
        assert told.names == ("site", "owner")
        assert told.notes(["b/kern.log"]) == ["of no case here: 2 rows of the sidecar, the first 'a'"]
        assert told.notes(["a/kern.log"]) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("host\nx\n", "row 1 has no column 'case'"),
        ("case,a b\nx,1\n", "'a b' cannot be the name of a label"),
        ("case,a\nx,1,2\n", "row 1 has more values"),
        ("case,seen\nx,yesterday\n", "'yesterday' is no time"),
        ("[1, 2]", "neither a list of objects"),
        ('{"a": ', "no JSON"),
        ('[{"host": "x"}]', "row 1 has no column 'case'"),
        ("\xff\xfe", "no UTF-8 text"),
    ],
)
def test_a_spoilt_sidecar_is_refused_in_a_sentence(tmp_path: Path, text: str, told: str) -> None:
    """Before any case is explained."""
    path = tmp_path / "sidecar"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(BadQuestion, match=told):
        labels(None, str(path))


def test_a_sidecar_that_is_not_there(tmp_path: Path) -> None:
    """The reason is the system's own."""
    with pytest.raises(BadQuestion, match="no such file"):
        labels(None, str(tmp_path / "nowhere.csv"))
    with pytest.raises(BadQuestion, match="cannot be the name of a label"):
        labels("site/{host}", None)


@pytest.mark.parametrize(
    ("stamp", "seen"),
    [
        ("Sat Apr 11 17:52:58 2020", "2020-04-11T17:52:58+00:00"),
        ("Sat Apr 11 17:52:58.123456 2020", "2020-04-11T17:52:58+00:00"),
        ("Jun 8 2019 11:00:00", "2019-06-08T11:00:00+00:00"),
        ("2024-05-30T21:05:00.1+02:00", "2024-05-30T19:05:00+00:00"),
        ("2024-05-30 21:05:00", "2024-05-30T21:05:00+00:00"),
        ("2024-05-30T21:05:00,123456+00:00", "2024-05-30T21:05:00+00:00"),
        ("Nov  9 11:55:27", "2023-11-09T11:55:27+00:00"),
        ("Dec 24 18:00:00", "2022-12-24T18:00:00+00:00"),
        ("Feb 29 18:00:00", "2020-02-29T18:00:00+00:00"),
        ("07-13 08:41:51.341", "2023-07-13T08:41:51+00:00"),
    ],
)
def test_a_stamp_becomes_a_time(stamp: str, seen: str) -> None:
    """In all forms that logs have; one without a year is the last such day before the file was written."""
    assert when(None, stamp, WRITTEN) == (seen, BY_LOG)


def test_who_says_when() -> None:
    """The sidecar before the log before the file; a stamp that is no time is none."""
    assert when("2024-01-01", "Sat Apr 11 17:52:58 2020", WRITTEN) == ("2024-01-01T00:00:00+00:00", BY_SIDECAR)
    assert when(None, "Sat Apr 31 17:52:58 2020", WRITTEN) == ("2023-11-14T22:13:20+00:00", BY_FILE)
    assert when(None, None, None) == (None, None)
    assert when(None, "Nov  9 11:55:27", None) == (None, None)


def test_the_sidecar_reaches_the_cases(tmp_path: Path) -> None:
    """With its time, which every OOM of the case has."""
    told = Labels(rows={"site-0": {"region": "eu"}, "site-0/host-1": {"seen": "2024-02-29"}})
    cases = {case.name: case for case in triaged(lay_out(tmp_path / "fleet"), labels=told)}
    case = cases[f"site-0/host-1/{fleets.REPORTS[4]}#1"]
    assert (case.labels, case.seen, case.seen_by) == ({"region": "eu"}, "2024-02-29T00:00:00+00:00", BY_SIDECAR)
    assert cases["site-1/leak"].labels == {}
