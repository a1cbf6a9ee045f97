"""How many examples a property test draws: few fixed ones for everybody, many random ones in `make fuzz`."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, settings

IS_FUZZING = bool(os.environ.get("OOMSCOPE_FUZZ"))
_FIXED_OF_RANDOM = 8
_FIXED_LEAST = 8
# Of one example, on a noisy machine: what hangs or grows out of proportion takes longer.
_DEADLINE = timedelta(seconds=10)


def draws(most: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """So many random examples in `make fuzz`, an eighth of them, always the same ones, elsewhere."""
    count = most if IS_FUZZING else max(most // _FIXED_OF_RANDOM, min(most, _FIXED_LEAST))
    checks = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
    made: Any = settings(
        max_examples=count, derandomize=not IS_FUZZING, deadline=_DEADLINE, suppress_health_check=checks
    )
    return made  # type: ignore[no-any-return]
