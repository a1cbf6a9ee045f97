from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from oomscope.model.notice import OOM, STORM, Incident, OomNotice
from oomscope.watch.judge import answered
from oomscope.watch.storms import QUIET_S, Storms

KILL = Path(__file__).parents[2] / "examples/kill-4.18.log"
NOTICE = answered(KILL.read_bytes()).notices[0]


def incident(at: float, notice: OomNotice = NOTICE) -> Incident:
    return Incident(OOM, at, notice.short, "log", notice)


def test_a_storm_is_one_incident_with_a_count() -> None:
    """The first is told in full, the others when it is over; none is told twice, none is forgotten."""
    storms = Storms()
    told = [each for number in range(10_000) for each in storms.take(incident(1000 + 0.01 * number))]
    assert [each.kind for each in told] == [OOM]
    told = list(storms.due(1100 + QUIET_S))
    assert [(each.kind, each.count) for each in told] == [(STORM, 9_999)]
    assert "9,999 events more like it within" in told[0].text
    assert NOTICE.headline in told[0].text
    assert list(storms.all()) == []


def test_other_causes_and_cgroups_are_other_incidents() -> None:
    """By signature and by the memory cgroup."""
    storms = Storms()
    kinds = [
        [each.kind for each in storms.take(incident(1.0, replace(NOTICE, group=group, signature_id=cause)))]
        for group, cause in ((None, "x"), ("/a", "x"), ("/b", "x"), (None, "y"), ("/a", "x"))
    ]
    assert kinds == [[OOM], [OOM], [OOM], [OOM], []]
    assert [each.count for each in storms.all()] == [1]


def test_one_that_comes_after_a_pause_is_told_again() -> None:
    """An hour later it is news."""
    storms = Storms()
    assert [each.kind for each in storms.take(incident(0.0))] == [OOM]
    assert [each.kind for each in storms.take(incident(3600.0))] == [OOM]


def test_a_storm_that_goes_on_is_told_of_now_and_then() -> None:
    """Counts add up to what came."""
    storms = Storms()
    told = [each for number in range(3600) for each in (*storms.take(incident(number)), *storms.due(number))]
    told += storms.all()
    assert told[0].kind == OOM
    assert len(told) > 5
    assert sum(each.count for each in told) == 3600


def test_memory_is_bounded_however_many_cgroups_there_are() -> None:
    """Beyond, they are counted together by their cause."""
    storms = Storms()
    told = [
        each for number in range(20_000) for each in storms.take(incident(1.0, replace(NOTICE, group=f"/{number}")))
    ]
    told += storms.all()
    assert sum(each.count for each in told) == 20_000
    assert len(told) < 2_500
