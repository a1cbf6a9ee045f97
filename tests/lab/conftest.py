from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.lab_cases import Case, HolderTruth


@pytest.fixture(autouse=True)
def _case_in_the_report(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> None:
    """The table of results goes by the case that a test is about."""
    for value in getattr(getattr(request.node, "callspec", None), "params", {}).values():
        if isinstance(value, HolderTruth | Case):
            this = value.case if isinstance(value, HolderTruth) else value
            record_property("case", f"{this.kernel}/{this.scenario}")
