"""The cases that the lab captured last, and what is true of them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from lab import case
from lab.kernels import KERNELS

_STOCK = {kernel.name for kernel in KERNELS if kernel.flavour}
OUT = Path(__file__).parents[2] / "lab" / "out"
WITHOUT_CASES = "lab/out has no such case: `make lab` and `make lab-all` run kernels in QEMU and then these tests"


@dataclass(frozen=True)
class HolderTruth:
    """A holder at one moment of a case, by the guest's own account."""

    case: Case
    moment: str
    function: str
    module: str | None
    kind: str
    pages: int

    @property
    def folder(self) -> Path:
        """What the living guest told at that moment."""
        return self.case.folder / self.moment

    @property
    def held(self) -> set[int]:
        """The PFNs of its pages."""
        return self.held_by(self.function)

    def held_by(self, holder: str) -> set[int]:
        """The PFNs of any holder's pages at that moment."""
        return _held(self.folder)[holder]

    def has(self, name: str) -> bool:
        """Whether the file was captured at that moment."""
        return self.case.has(f"{self.moment}/{name}")

    def __str__(self) -> str:
        return f"{self.case}-{self.moment}-{self.function}"


@dataclass(frozen=True)
class Case:
    """One scenario on one kernel."""

    folder: Path
    kernel: str
    scenario: str
    end: str
    culprit_at_end: str | None

    def __str__(self) -> str:
        return f"{self.kernel}-{self.scenario}"

    @property
    def culprits_at_end(self) -> tuple[str, ...]:
        """The names that releases have for who took the last of memory."""
        return tuple((self.culprit_at_end or "").split("|"))

    @property
    def is_tracked(self) -> bool:
        """Whether `arm --track` keeps the owners of pages."""
        return "tracked" in self.scenario

    @property
    def is_stock(self) -> bool:
        """Whether Debian built the kernel itself, without page_owner."""
        return self.kernel in _STOCK

    @property
    def moments(self) -> list[Path]:
        """The folders of the moments at which the guest told of itself, the earliest first."""
        return [self.folder / name for name in re.findall(r"^capture (\S+)", self.text("scenario.sh"), re.MULTILINE)]

    def text(self, name: str) -> str:
        """A captured file, compressed or not."""
        return case.text(self.folder / name)

    def has(self, name: str) -> bool:
        """Whether the file was captured."""
        return any((self.folder / name).parent.glob(Path(name).name + "*"))


@cache
def _held(folder: Path) -> dict[str, set[int]]:
    return case.held_pages(folder / "held")


def _load(truth_path: Path) -> tuple[Case, list[HolderTruth]]:
    truth = json.loads(truth_path.read_text())
    this = Case(truth_path.parent, truth["kernel"], truth["scenario"], truth["end"], truth["culprit_at_end"])
    accounts = [
        HolderTruth(this, moment, holder["function"], holder["module"], holder["kind"], holder["pages"])
        for moment, holders in truth["moments"].items()
        for holder in holders
    ]
    return this, accounts


_LOADED = [_load(path) for path in sorted(OUT.glob("*/*/truth.json"))]
CASES = [case for case, _ in _LOADED]
ACCOUNTS = [account for _, accounts in _LOADED for account in accounts]


# Before 5.11 page_owner keeps neither when a page was taken nor by whom: no growth, no memory of one process.
WITHOUT_TIMES_AND_TASKS = ("5.10",)


def each(things: list[Case] | list[HolderTruth]) -> list[object]:
    """Parameters for a test of each of them; where there is none, one that is skipped and says why."""
    if not things:
        return [pytest.param(None, marks=pytest.mark.skip(reason=WITHOUT_CASES))]
    return [pytest.param(thing, id=str(thing)) for thing in things]


def each_of(scenario: str, *, of_tasks: bool = False) -> list[object]:
    """Parameters for a test of the cases of one scenario that have page_owner's text; `of_tasks`: telling who asked."""
    chosen = [case for case in CASES if case.scenario == scenario and case.has("taken/page_owner")]
    chosen = [case for case in chosen if not of_tasks or case.kernel not in WITHOUT_TIMES_AND_TASKS]
    if not chosen:
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"no case of {scenario}: `make lab` captures it"))]
    return each(chosen)
