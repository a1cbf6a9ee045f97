"""The Debian package in clean roots of its suites, on a kernel of the lab."""

from __future__ import annotations

import json

import pytest

from tests.support.lab_cases import CASES, Case, each

PACKAGED = [case for case in CASES if case.scenario.startswith("packaged-")]


@pytest.mark.parametrize("case", each(PACKAGED))
def test_the_package_explains_arms_and_disarms(case: Case) -> None:
    """With the libraries that came with it and nothing else of ours on the machine."""
    assert case.text("explain.txt").startswith("take_page [oomlab] holds 156.3 MiB (40,009 pages)")
    assert "BPF" in case.text("doctor.txt")
    assert "no BPF programs" not in case.text("doctor.txt")
    assert "armed" in case.text("status.txt")
    live = json.loads(case.text("live.json"))
    assert live["answer"]["holder"] == "take_page"
    assert sum(row["pages"] for row in live["culprits"] if row["function"] == "take_page") == 40009
    assert case.text("after.txt").startswith("not armed")
