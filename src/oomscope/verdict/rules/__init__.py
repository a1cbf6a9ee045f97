"""One rule, one file: each looks at the case and says what it finds, or nothing."""

from __future__ import annotations

from collections.abc import Callable

from oomscope.model.verdict import Finding
from oomscope.verdict.rules import (
    accounts,
    census,
    earlier_moment,
    free_blocks,
    greatest_stack,
    inconsistent,
    lost_stacks,
    many_paths,
    object_owners,
    object_sites,
    slab_objects,
)
from oomscope.verdict.rules.case import Case

Rule = Callable[[Case], tuple[Finding, ...]]

# In the order in which their findings are shown.
RULES: tuple[Rule, ...] = (
    greatest_stack.rule,
    many_paths.rule,
    slab_objects.rule,
    object_owners.rule,
    object_sites.rule,
    accounts.rule,
    free_blocks.rule,
    census.rule,
    earlier_moment.rule,
    lost_stacks.rule,
    inconsistent.rule,
)

__all__ = ["RULES", "Case"]
