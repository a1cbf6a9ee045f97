"""One rule, one file: each looks at the case and says what it finds, or nothing."""

from __future__ import annotations

from collections.abc import Callable

from oomscope.model.verdict import Finding
from oomscope.verdict.rules import (
    accounts,
    census,
    depot_full,
    earlier_moment,
    free_blocks,
    greatest_stack,
    growth_in_text,
    inconsistent,
    memory_cgroup,
    object_owners,
    object_sites,
    slab_objects,
    split_culprit,
    two_machines,
)
from oomscope.verdict.rules.case import RuleCase

Rule = Callable[[RuleCase], tuple[Finding, ...]]

# In the order in which their findings are shown.
RULES: tuple[Rule, ...] = (
    greatest_stack.rule,
    split_culprit.rule,
    slab_objects.rule,
    object_owners.rule,
    object_sites.rule,
    memory_cgroup.rule,
    accounts.rule,
    free_blocks.rule,
    census.rule,
    earlier_moment.rule,
    growth_in_text.rule,
    depot_full.rule,
    inconsistent.rule,
    two_machines.rule,
)

__all__ = ["RULES", "RuleCase"]
