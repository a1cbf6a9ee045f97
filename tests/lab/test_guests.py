"""Guests that go wrong: each is a failed scenario that says why, and is over in time."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import pytest

from lab import build, case, matrix
from lab.errors import GuestFailed
from lab.kernels import KERNELS
from lab.scenarios import Scenario

_KERNEL = next(kernel for kernel in KERNELS if kernel.default)
pytestmark = [
    pytest.mark.skipif(
        build.cached(_KERNEL) is None, reason=f"kernel {_KERNEL.name} is not built: `make lab` builds it"
    ),
    pytest.mark.xdist_group("guests"),
    pytest.mark.slow,
]
HUNG = Scenario("hung", "sleep 1000", end="alive", cores=(), limit_s=25)


def test_a_hung_guest_is_a_failed_scenario_with_its_last_words(tmp_path: Path) -> None:
    """A guest that does not end is ended, in its time, and its console's last lines are told."""
    started = time.monotonic()
    with pytest.raises(GuestFailed, match=r"did not end within 25 s") as failed:
        case.run(build.build(_KERNEL), HUNG, tmp_path / "case")
    assert "Run /init as init process" in str(failed.value)
    assert time.monotonic() - started < 60


def test_a_guest_that_dies_early_does_not_end_the_others(tmp_path: Path) -> None:
    """Of two scenarios the one whose script fails is told with the guest's reason, the other is captured."""
    broken = dataclasses.replace(HUNG, name="broken", script="take nothing 7")
    quick = dataclasses.replace(HUNG, name="quick", script="capture now", limit_s=120)
    built = build.build(_KERNEL)
    outcomes = {o.scenario: o for o in matrix.run([(built, broken), (built, quick)], tmp_path, lambda _: None)}
    assert "7 blocks of nothing cannot be taken" in str(outcomes["broken"].error)
    assert outcomes["quick"].error is None
    assert (tmp_path / _KERNEL.name / "quick" / "now" / "meminfo").exists()


def test_an_end_that_was_not_asked_for_is_a_failure(tmp_path: Path) -> None:
    """A guest that should have panicked and lives is no case."""
    alive = dataclasses.replace(HUNG, name="alive", script="capture now", end="panic", limit_s=120)
    with pytest.raises(GuestFailed, match="did not panic"):
        case.run(build.build(_KERNEL), alive, tmp_path / "case")
