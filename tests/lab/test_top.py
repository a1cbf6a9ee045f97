"""`oomscope top` in a guest: what grew while it watched is what the module took."""

from __future__ import annotations

import json

import pytest

from tests.support.lab_cases import ACCOUNTS, HolderTruth, each

WATCHED = [account for account in ACCOUNTS if account.case.scenario == "top"]


@pytest.mark.parametrize("account", each(WATCHED))
def test_a_leak_is_seen_while_it_happens(account: HolderTruth) -> None:
    """The module's pages, all of them new, from whatever account this kernel offers."""
    boards = [json.loads(line) for line in account.case.text("top.json").splitlines()]
    board = boards[-1]
    (row,) = [row for row in board["rows"] if row["name"] == f"{account.function} [{account.module}]"]
    pages = row["pages"] if board["unit"] == "pages" else row["bytes"] // 4096
    change = row["change"] if board["unit"] == "pages" else row["change"] // 4096
    assert (pages, change) == (account.pages, account.pages)
    assert all(row["name"] != "take_page [oomlab]" for row in boards[0]["rows"])
    # The command's own memory grows, too, and is the user's.
    culprits = [each for each in board["rows"] if not each["name"].startswith("(")]
    assert max(culprits, key=lambda each: each["change"]) == row
