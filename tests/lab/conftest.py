from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.lab.cases import Account, Case


@pytest.fixture(autouse=True)
def _case_in_the_report(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> None:
    """The table of results goes by the case that a test is about."""
    for value in getattr(getattr(request.node, "callspec", None), "params", {}).values():
        if isinstance(value, Account | Case):
            this = value.case if isinstance(value, Account) else value
            record_property("case", f"{this.kernel}/{this.scenario}")
