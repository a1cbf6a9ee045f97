"""Many scenarios on many kernels, as many at once as the machine has cores."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from lab import case
from lab.build import Built
from lab.errors import LabError
from lab.scenarios import Scenario


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one scenario on one kernel went: the seconds it took, and what went wrong or None."""

    kernel: str
    scenario: str
    seconds: float
    error: str | None


def run(pairs: Iterable[tuple[Built, Scenario]], cases: Path, tell: Callable[[Outcome], None]) -> list[Outcome]:
    """A folder KERNEL/SCENARIO below `cases` for each pair; `tell` hears of each as it ends."""
    outcomes = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for future in as_completed([pool.submit(_one, built, scenario, cases) for built, scenario in pairs]):
            outcomes.append(future.result())
            tell(outcomes[-1])
    return outcomes


def _one(built: Built, scenario: Scenario, cases: Path) -> Outcome:
    started = time.monotonic()
    folder = cases / built.kernel.name / scenario.name
    try:
        case.run(built, scenario, folder)
        error = None
    except (LabError, OSError, subprocess.CalledProcessError) as problem:
        error = str(problem)
        (folder / "truth.json").unlink(missing_ok=True)
    return Outcome(built.kernel.name, scenario.name, time.monotonic() - started, error)
