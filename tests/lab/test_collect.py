"""`oomscope collect` in a guest: the archive, redacted or not, tells what the guest's own account tells."""

from __future__ import annotations

import json

import pytest

import oomscope
from tests.support.lab_cases import ACCOUNTS, HolderTruth, each

COLLECTED = [account for account in ACCOUNTS if account.case.scenario == "collect" and account.module is not None]


@pytest.mark.parametrize("name", ["case.tar.zst", "redacted.tar.zst"])
@pytest.mark.parametrize("account", each(COLLECTED))
def test_the_archive_names_the_holder(account: HolderTruth, name: str) -> None:
    """Function, module and pages, as the module itself counted them; and the kernel's version."""
    verdict = oomscope.explain(account.folder / name)
    assert verdict.greatest is not None
    assert verdict.greatest.pages == account.pages
    assert str(verdict.greatest.holding.culprit) == f"{account.function} [{account.module}]"
    assert verdict.kernel.release == json.loads(account.case.text("truth.json"))["release"]


@pytest.mark.parametrize("account", each(COLLECTED))
def test_what_this_kernel_lacks_is_said(account: HolderTruth) -> None:
    """No kernel of the lab has percpu_stats: the archive says so."""
    verdict = oomscope.explain(account.folder / "case.tar.zst")
    reasons = {each.what: each.reason for each in verdict.absent}
    assert reasons["/sys/kernel/debug/percpu_stats"] == "not collected: no such file or directory"
