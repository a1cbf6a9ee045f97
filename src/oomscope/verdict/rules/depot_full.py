"""Pages whose stack page_owner lost: the ranking may miss somebody."""

from __future__ import annotations

from oomscope.model.holding import UNTRACKED
from oomscope.model.verdict import CERTAIN, Finding
from oomscope.units import pages_text
from oomscope.verdict.rules.case import RuleCase

_SHARE_WORTH_SAYING = 0.05


def rule(case: RuleCase) -> tuple[Finding, ...]:
    """Claims that stacks were lost where they hold a twentieth of what the greatest consumer holds."""
    failure = [c for c in case.excepted if c.holding.label == "failure" and c.holding.kind == UNTRACKED]
    if not failure or not case.consumers or failure[0].pages < _SHARE_WORTH_SAYING * case.consumers[0].pages:
        return ()
    return (
        Finding(
            claim=f"{pages_text(failure[0].pages)} have no stack: the stack depot was full",
            pages=failure[0].pages,
            certainty=CERTAIN,
            because=("their stack is register_failure_stack",),
            refuted_by="nothing: the kernel says so itself",
            next="boot with a larger stack_depot_max_pools, or rank what is there as a lower bound",
        ),
    )
