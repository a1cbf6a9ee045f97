"""Inputs that cannot be of one moment, or of one machine."""

from __future__ import annotations

from oomscope.model.verdict import CERTAIN, Finding
from oomscope.units import pages_text
from oomscope.verdict.rules.case import Case


def rule(case: Case) -> tuple[Finding, ...]:
    """Claims an inconsistent snapshot where more is counted than RAM has."""
    if case.balance is None or case.balance.is_consistent:
        return ()
    beyond = -case.balance.unexplained_pages
    return (
        Finding(
            claim=f"the snapshot is inconsistent: {pages_text(beyond)} more are counted than RAM has",
            pages=beyond,
            certainty=CERTAIN,
            because=(f"{pages_text(case.balance.ram_pages)} of RAM against the rows of the balance",),
            refuted_by="a /proc/meminfo read at the same time as the dump",
            next="read /proc/meminfo right after page_owner; shares of RAM stand, the balance does not",
        ),
    )
